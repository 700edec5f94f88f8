"""The .proto: how it is written, that it stays compatible, and that the checks for both would notice."""

import shutil
import subprocess
from pathlib import Path

import pytest
from google.api import field_behavior_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodOptions

from plaudit_protos.reward.v1 import admin_pb2
from plaudit_protos.reward.v1 import reward_pb2 as pb

ROOT = Path(__file__).parents[2]
PROTO = "protos/plaudit_protos/reward/v1/reward.proto"
needs_buf = pytest.mark.skipif(shutil.which("buf") is None, reason="buf is not on the path")


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([root / "protos/generate.sh", "lint"], capture_output=True, text=True)


def changed(tmp_path: Path, old: str, new: str) -> Path:
    """A copy of the contract with one change in it."""
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    text = (tmp_path / PROTO).read_text()
    assert old in text
    (tmp_path / PROTO).write_text(text.replace(old, new))
    return tmp_path


def test_every_field_says_how_it_behaves():
    messages = [message for file in (pb, admin_pb2) for message in file.DESCRIPTOR.message_types_by_name.values()]
    fields = [field for message in messages for field in message.fields]
    assert fields
    for field in fields:
        assert len(field.GetOptions().Extensions[field_behavior_pb2.field_behavior]) == 1, field.full_name


def test_every_method_may_be_repeated():
    for method in pb.DESCRIPTOR.services_by_name["RewardService"].methods:
        assert method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS, method.name
    for method in admin_pb2.DESCRIPTOR.services_by_name["ModelAdminService"].methods:
        assert method.GetOptions().idempotency_level == MethodOptions.IDEMPOTENT, method.name


def test_rewards_know_absence_from_zero():
    assert pb.Score.DESCRIPTOR.fields_by_name["score"].has_presence
    assert not pb.Score().HasField("score")
    assert pb.Score(score=0.0).HasField("score")


def test_every_field_of_the_baseline_is_still_there():
    """What `buf breaking` checks, for the cases that would corrupt data, where buf is not installed."""
    baseline = FileDescriptorSet.FromString((ROOT / "protos/baseline.binpb").read_bytes())
    (file,) = (file for file in baseline.file if file.package == pb.DESCRIPTOR.package)
    for message in file.message_type:
        now = pb.DESCRIPTOR.message_types_by_name[message.name].fields_by_number
        for field in message.field:
            assert (now[field.number].name, now[field.number].type) == (field.name, field.type)


@needs_buf
def test_the_contract_is_clean_and_compatible():
    done = lint(ROOT)
    assert (done.returncode, done.stdout) == (0, "")


@needs_buf
@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("string request_id = 3", "string requestId = 3", "lower_snake_case"),
        ("  // 1 to `ModelLimits.max_items` items.\n", "", "non-empty comment"),
        ("int32 page_size = 1", "int64 page_size = 1", "changed type"),
        ("FINISH_REASON_LENGTH = 2", "FINISH_REASON_CUT = 2", "FINISH_REASON_LENGTH"),
        ("idempotency_level = NO_SIDE_EFFECTS", "idempotency_level = IDEMPOTENT", "idempotency"),
    ],
)
def test_a_planted_fault_is_found(tmp_path, old, new, complaint):
    done = lint(changed(tmp_path, old, new))
    assert done.returncode != 0
    assert complaint in done.stdout
