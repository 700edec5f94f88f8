// Keys, drag and drop, drafts, and sending again where the network failed. The page works without any of it.

const form = document.querySelector("#task");
const state = document.querySelector("#state");
const problem = document.querySelector("#problem");
const DRAFT_AFTER_MS = 400, AGAIN_MS = 1500, MOST_MS = 15000, AWAY = [502, 503, 504], SIGNED_OUT = 401;

function say(text) { if (state) state.textContent = text; }

function complain(text) {
  problem.textContent = text;
  problem.hidden = !text;
  if (text) problem.scrollIntoView({ block: "nearest" });
}

// ---- a personal link: its token stands behind the #, which browsers send to nobody ----

const entrance = document.querySelector("#entrance");
function enter() {
  if (location.hash.length < 2) return;
  entrance.token.value = location.hash.slice(1);
  history.replaceState(null, "", "/in");
  entrance.submit();
}
if (entrance) {
  enter();
  window.addEventListener("hashchange", enter); // another link in the same window
}

// ---- drafts: with the server, and with the browser until the server has them ----

const kept = form && `plaudit-label/${form.dataset.assignment}`;

function draft() {
  const fields = Object.fromEntries(new FormData(form));
  for (const name of ["assignment", "submission", "seconds"]) delete fields[name];
  return fields;
}

let drafting = 0, sending = false;

async function saveDraft(leaving = false) {
  clearTimeout(drafting);
  if (sending) return;
  const body = JSON.stringify({ assignment: Number(form.dataset.assignment), draft: draft() });
  localStorage.setItem(kept, body);
  try {
    const answer = await fetch("/draft", { method: "POST", body, keepalive: leaving && body.length < 60000 });
    if (!answer.ok) throw new Error(answer.statusText);
    if (localStorage.getItem(kept) === body) localStorage.removeItem(kept);
    say("Kept");
  } catch {
    if (!sending) say("Kept on this device");
    if (!leaving) drafting = setTimeout(saveDraft, AGAIN_MS);
  }
}

function changed() {
  complain("");
  say("");
  clearTimeout(drafting);
  drafting = setTimeout(saveDraft, DRAFT_AFTER_MS);
}

function restore() {
  const text = localStorage.getItem(kept);
  if (text === null) return;
  for (const [name, value] of Object.entries(JSON.parse(text).draft)) {
    const input = form.elements[name];
    if (input instanceof RadioNodeList) input.value = value;
    else if (input?.type === "checkbox") input.checked = true;
    else if (input) input.value = value;
  }
  saveDraft();
}

// ---- sending: until the server has it; it knows a judgement that comes twice ----

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function send(action, fields) {
  if (sending) return;
  sending = true;
  clearTimeout(drafting);
  localStorage.setItem(kept, JSON.stringify({ assignment: Number(form.dataset.assignment), draft: draft() }));
  for (const button of form.querySelectorAll(".actions button")) button.disabled = true;
  for (let tries = 0; ; tries++) {
    say(tries ? "Not sent yet: trying again" : "Sending");
    try {
      const answer = await fetch(action, { method: "POST", body: new URLSearchParams(fields), redirect: "manual" });
      if (answer.type === "opaqueredirect") break;
      if (!AWAY.includes(answer.status)) { show(await answer.text(), answer.status); return; }
    } catch { /* the network: again */ }
    await pause(Math.min(AGAIN_MS * 2 ** tries, MOST_MS));
  }
  localStorage.removeItem(kept);
  location.replace("/");
}

function show(page, status) {
  const found = new DOMParser().parseFromString(page, "text/html");
  const told = found.querySelector("#problem")?.textContent || "This could not be sent.";
  sending = false;
  const stays = status === SIGNED_OUT || status >= 500; // what was typed is still needed
  if (!stays && found.querySelector("#task")?.dataset.assignment !== form.dataset.assignment) { location.replace("/"); return; }
  for (const button of form.querySelectorAll(".actions button")) button.disabled = false;
  say("");
  complain(told);
}

// ---- time: as long as the page was looked at ----

let looked = 0, since = document.hidden ? null : performance.now();

function seconds() { return (looked + (since === null ? 0 : performance.now() - since)) / 1000; }

document.addEventListener("visibilitychange", () => {
  if (document.hidden && since !== null) { looked += performance.now() - since; since = null; }
  else if (!document.hidden && since === null) since = performance.now();
});

// ---- ranking: cards in order; one may be as good as the one above it ----

const list = document.querySelector(".ranking");
const cards = () => [...list.children];
const rankOf = (card) => card.querySelector("input[type=number]");

function startRanking() {
  document.documentElement.classList.add("scripted");
  for (const moves of list.querySelectorAll(".moves")) moves.hidden = false;
  order();
}

function order() { // from the fields to the cards
  if (cards().some((card) => !rankOf(card).value)) return;
  const sorted = cards().sort((a, b) => rankOf(a).value - rankOf(b).value);
  list.append(...sorted);
  sorted.forEach((card, at) => card.classList.toggle("tied", at > 0 && rankOf(card).value === rankOf(sorted[at - 1]).value));
  number();
}

function number() { // from the cards to the fields
  let rank = 0;
  cards().forEach((card, at) => {
    if (at === 0) card.classList.remove("tied");
    if (!card.classList.contains("tied")) rank++;
    rankOf(card).value = rank;
    card.querySelector(".place").textContent = rank;
  });
  list.classList.add("ordered");
}

function move(card, to) {
  const all = cards(), at = all.indexOf(card);
  to = Math.max(0, Math.min(all.length - 1, to));
  if (to !== at) {
    card.classList.remove("tied");
    all[at + 1]?.classList.remove("tied");
    if (to > at) all[to].after(card); else all[to].before(card);
  }
  number();
  changed();
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest" });
}

function tie(card) {
  card.classList.toggle("tied");
  number();
  changed();
  card.focus();
}

function drag(event) {
  const handle = event.target.closest(".handle");
  if (!handle) return;
  event.preventDefault();
  const card = handle.closest(".answer");
  card.classList.add("held");
  const moved = ({ clientY }) => {
    const others = cards().filter((other) => other !== card);
    const below = others.find((other) => {
      const box = other.getBoundingClientRect();
      return clientY < box.top + box.height / 2;
    });
    const next = below ?? null;
    if (card.nextElementSibling !== next) {
      card.classList.remove("tied");
      card.nextElementSibling?.classList.remove("tied");
      next?.classList.remove("tied");
      list.insertBefore(card, next);
      number();
    }
  };
  const dropped = () => {
    card.classList.remove("held");
    dragging.abort();
    number();
    changed();
  };
  const dragging = new AbortController(); // with the document: a card that moves loses the pointer
  document.addEventListener("pointermove", moved, { signal: dragging.signal });
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, dropped, { signal: dragging.signal });
}

function rankingKey(event) {
  const card = document.activeElement?.closest?.(".ranking .answer");
  const all = cards(), at = all.indexOf(card);
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (step && event.shiftKey && card) move(card, at + step);
  else if (step) all[Math.max(0, Math.min(all.length - 1, card ? at + step : 0))].focus();
  else if (event.key === "=" && at > 0) tie(card);
  else if (/^[1-9]$/.test(event.key) && card) move(card, Number(event.key) - 1);
  else if (event.key === "Enter" && !list.classList.contains("ordered")) {
    number();
    changed();
    say("In this order? Enter once more");
  } else return false;
  return true;
}

// ---- keys ----

const MOVES = ["ArrowUp", "ArrowDown", "Tab", "PageUp", "PageDown", " "]; // and scrolling, as long as held

const writing = (element) => element?.matches?.("textarea, input:not([type=radio]):not([type=checkbox])");

function key(event) {
  if (event.isComposing || document.querySelector("dialog[open]")) return;
  if (event.repeat && !MOVES.includes(event.key) && !writing(event.target)) { event.preventDefault(); return; } // held down
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { form.requestSubmit(form.querySelector("[data-send]")); return; }
  if (writing(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (act(event)) event.preventDefault();
}

function act(event) {
  if (list && rankingKey(event)) return true;
  const chosen = form.querySelector(`[data-key="${CSS.escape(event.key)}"] input`);
  if (chosen) {
    chosen.checked = true;
    chosen.focus({ preventScroll: true });
    changed();
    return true;
  }
  switch (event.key) {
    case "Enter":
      if (event.target.closest?.("button, summary, a")) return false;
      form.requestSubmit(form.querySelector("[data-send]"));
      return true;
    case "s": form.querySelector("[data-skip]").click(); return true;
    case "u": form.querySelector("[data-undo]").click(); return true;
    case "c": openComment().focus(); return true;
    case "f": openComment(); form.elements.flagged.click(); return true;
    case "?": document.querySelector("#keys").showModal(); return true;
  }
  return false;
}

function openComment() {
  form.querySelector(".comment").open = true;
  return form.elements.comment;
}

if (form) {
  restore();
  if (list) { startRanking(); list.addEventListener("pointerdown", drag); }
  document.querySelector("#help").hidden = false;
  document.querySelector("#help").addEventListener("click", () => document.querySelector("#keys").showModal());
  form.addEventListener("input", changed);
  form.addEventListener("click", (event) => {
    const button = event.target.closest(".moves button"), card = button?.closest(".answer");
    if (button?.dataset.move) move(card, cards().indexOf(card) + Number(button.dataset.move));
    else if (button) tie(card);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    form.elements.seconds.value = Math.max(seconds(), 0.001).toFixed(3); // 0 says that nobody knows
    const action = event.submitter?.getAttribute("formaction") ?? form.getAttribute("action");
    if (action === "/judge" && list && !list.classList.contains("ordered")) { complain("Put the answers in order first."); return; }
    if (action === "/undo") await saveDraft(); // this one comes back
    send(action, new FormData(form));
  });
  document.addEventListener("keydown", key);
  window.addEventListener("pagehide", () => { if (drafting && !sending) saveDraft(true); });
} else {
  document.addEventListener("keydown", (event) => {
    if (event.key === "u" && !writing(event.target)) document.querySelector("form[data-undo]")?.requestSubmit();
  });
}
