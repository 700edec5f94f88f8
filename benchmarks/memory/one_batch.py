"""What both sides train on: one batch, one optimizer step, float32."""

BATCH, PROMPT_TOKENS, RESPONSE_TOKENS = 8, 16, 48
LORA_RANK = 8
