import gc
import json
import shutil
import sys
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec, SingleDeviceSharding

from ssljax.config.checks import ConfigError
from ssljax.runs.checkpoint import Checkpoints
from ssljax.runs.digest import digest
from ssljax.runs.failed_step import load_failure, save_failure


@flax.struct.dataclass
class State:
    step: jax.Array
    params: Any
    target: Any
    opt_state: Any
    nothing: Any = None


def _replicated(count):
    mesh = jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec())


def _state(step, count=8):
    keys = jax.random.split(jax.random.key(step), 3)
    params = {
        "Dense_0": {
            "kernel": jax.random.normal(keys[0], (300, 200)),
            "bias": jax.random.normal(keys[1], (8,)),
        },
        "half": jax.random.normal(keys[2], (4, 5), jnp.bfloat16),
        "none_here": jnp.zeros((0, 3)),
    }
    optimizer = optax.chain(optax.clip(1.0), optax.trace(0.9), optax.scale(0.1))
    state = State(jnp.int32(step), params, {}, optimizer.init(params))
    return jax.device_put(state, _replicated(count))


def _abstract(state, sharding):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state
    )


def _assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Save checkpoints 100, 200 and 300 and keep two; tests work on copies."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    checkpoints = Checkpoints(folder, keep=2)
    for step in (100, 200, 300):
        checkpoints.save(step, _state(step), {"epoch": step / 100, "nan": float("nan")})
    checkpoints.close()
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoints")


def _found(checkpoints, like):
    """Return what the checkpoints restore, where there is one to restore."""
    found = checkpoints.restore_latest(like)
    assert found is not None
    return found


def _restore(folder, like=None, count=8):
    like = _state(1) if like is None else like
    checkpoints = Checkpoints(folder, keep=2)
    try:
        return _found(checkpoints, _abstract(like, _replicated(count)))
    finally:
        checkpoints.close()


def _chunks(folder, step):
    files = (folder / str(step) / "state").rglob("d/*")
    return sorted(files, key=lambda path: path.stat().st_size)


def test_restores_bit_for_bit_and_keeps_two(folder):
    checkpoints = Checkpoints(folder, keep=2)
    assert checkpoints.steps() == [200, 300]
    state, meta, notes = _found(checkpoints, _abstract(_state(1), _replicated(8)))
    _assert_same(state, _state(300))
    assert meta == {"epoch": 3.0, "nan": None, "digest": digest(state)}
    assert notes == []
    # A resumed run keeps saving, and its last step may be saved twice, once as the end
    # of an epoch.
    checkpoints.save(400, _state(400), {})
    checkpoints.save(400, _state(400), {})
    checkpoints.wait()
    assert checkpoints.steps() == [300, 400]
    checkpoints.close()


@pytest.mark.parametrize("count", [1, 2])
def test_restores_on_another_number_of_devices(folder, count):
    state, _, _ = _restore(folder, count=count)
    _assert_same(state, _state(300))
    assert state.params["Dense_0"]["kernel"].sharding == _replicated(count)
    assert state.params["none_here"].sharding == _replicated(count)


def test_restores_on_eight_devices_a_state_saved_from_one(tmp_path):
    device = SingleDeviceSharding(jax.devices()[3])
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    assert checkpoints.restore_latest(_abstract(_state(1), device)) is None
    checkpoints.save(5, jax.device_put(_state(5), device), {})
    checkpoints.close()
    state, _, _ = _restore(tmp_path / "checkpoints")
    _assert_same(state, _state(5))
    assert len(state.step.sharding.device_set) == 8


def test_saving_takes_a_copy_before_the_arrays_are_donated(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    state = _state(7)
    step = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
    checkpoints.save(7, state, {})
    state = step(step(state))
    jax.block_until_ready(state)
    checkpoints.close()
    restored, _, notes = _restore(tmp_path / "checkpoints")
    _assert_same(restored, _state(7))
    assert notes == []


def _truncate(folder):
    path = _chunks(folder, 300)[-1]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _delete_chunk(folder):
    _chunks(folder, 300)[-1].unlink()


def _delete_all_chunks(folder):
    for path in _chunks(folder, 300):
        path.unlink()


def _corrupt_bytes(folder):
    path = _chunks(folder, 300)[-1]
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)


def _empty_meta(folder):
    (folder / "300" / "meta" / "metadata").write_bytes(b"")


def _change_meta(folder):
    path = folder / "300" / "meta" / "metadata"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "epoch": 2.0}))


def _delete_state(folder):
    shutil.rmtree(folder / "300" / "state")


def _delete_manifest(folder):
    (folder / "300" / "state" / "manifest.ocdbt").unlink()


def _empty_folder(folder):
    shutil.rmtree(folder / "300")
    (folder / "300").mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _delete_chunk,
        _delete_all_chunks,
        _corrupt_bytes,
        _empty_meta,
        _change_meta,
        _delete_state,
        _delete_manifest,
        _empty_folder,
    ],
)
def test_a_damaged_checkpoint_is_skipped(folder, damage, capfd, monkeypatch):
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", lambda u: unraisable.append(str(u)))
    damage(folder)
    state, meta, notes = _restore(folder)
    _assert_same(state, _state(200))
    assert meta["epoch"] == 2.0
    (note,) = notes
    assert note.startswith("checkpoint 300 is damaged (") and "\n" not in note
    assert note.endswith("): using 200") and len(note) < 100
    moved = folder.with_name("checkpoints_damaged")
    assert [path.name for path in moved.iterdir()] == ["300"]
    assert not (folder / "300").exists()
    gc.collect()
    assert unraisable == []
    assert capfd.readouterr() == ("", "")


def test_a_step_may_be_damaged_twice(folder):
    checkpoints = Checkpoints(folder, keep=2)
    like = _abstract(_state(1), _replicated(8))
    for names in (["300"], ["300", "300-2"]):
        _truncate(folder)
        checkpoints.restore_latest(like)
        assert checkpoints.steps() == [200]
        moved = folder.with_name("checkpoints_damaged")
        assert sorted(path.name for path in moved.iterdir()) == names
        checkpoints.save(300, _state(300), {})
        checkpoints.wait()
    checkpoints.close()
    state, _, notes = _restore(folder)
    _assert_same(state, _state(300))
    assert notes == []


def test_if_all_checkpoints_are_damaged_none_is_moved(folder):
    _truncate(folder)
    shutil.rmtree(folder / "200" / "state")
    for _ in range(2):  # a second launch must not start from scratch either
        with pytest.raises(ConfigError) as caught:
            _restore(folder)
        text = str(caught.value)
        assert "300: " in text and "200: " in text and "\n" not in text
        assert "restore a copy or delete that folder" in text
    assert sorted(path.name for path in folder.iterdir()) == ["200", "300"]


def test_a_killed_save_is_ignored(folder):
    shutil.copytree(folder / "300", folder / "400.orbax-checkpoint-tmp")
    (folder / "400.orbax-checkpoint-tmp" / "commit_success.txt").unlink(missing_ok=True)
    state, _, notes = _restore(folder)
    _assert_same(state, _state(300))
    assert notes == []


def test_a_state_of_another_layout_is_refused_and_not_moved(folder):
    other = _state(1)
    other.params["Dense_0"]["bias"] = jnp.zeros(9)
    with pytest.raises(ConfigError, match=r"bias: saved .*8\], wanted .*9\]"):
        _restore(folder, other)
    other.params["Dense_0"] = {"kernel": jnp.zeros((300, 200))}
    with pytest.raises(ConfigError, match="bias: saved .* wanted nothing"):
        _restore(folder, other)
    assert sorted(path.name for path in folder.iterdir()) == ["200", "300"]


def test_the_digest_depends_on_bytes_types_shapes_and_names():
    tree = {"a": np.zeros((2, 3), np.float32), "b": np.zeros(1, jnp.bfloat16)}
    flipped = {k: v.copy() for k, v in tree.items()}
    flipped["b"].view(np.uint8)[1] ^= 1
    others = [
        flipped,
        {**tree, "a": np.zeros((3, 2), np.float32)},
        {**tree, "a": np.zeros((2, 3), np.int32)},
        {"a": tree["a"], "c": tree["b"]},
    ]
    digests = [digest(t) for t in (tree, *others)]
    assert len(set(digests)) == 5
    assert digest(jax.device_put(tree)) == digests[0]


def test_a_flipped_byte_is_detected_even_if_reading_succeeds(folder, monkeypatch):
    import orbax.checkpoint as ocp

    restore = ocp.CheckpointManager.restore

    def silently_wrong(self, step, args):
        found = restore(self, step, args=args)
        if step == 300 and "state" in found.keys():
            name = "params.Dense_0.kernel"
            arrays = found["state"]
            wrong = np.array(arrays[name])
            wrong.view(np.uint8)[17] ^= 1
            arrays[name] = jax.device_put(wrong, arrays[name].sharding)
        return found

    monkeypatch.setattr(ocp.CheckpointManager, "restore", silently_wrong)
    _, _, notes = _restore(folder)
    assert notes == [
        "checkpoint 300 is damaged (content differs from its digest): using 200"
    ]


def test_names_that_a_dot_would_make_equal_stay_distinct(tmp_path):
    state = {"a.b": jnp.ones(2), "a": {"b": jnp.zeros(2)}}
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    checkpoints.save(1, state, {})
    checkpoints.close()
    restored, _, _ = _restore(tmp_path / "checkpoints", state, 1)
    _assert_same(restored, state)


def test_a_failed_step_is_saved_completely(tmp_path, capfd):
    folder = tmp_path / "failure"
    like = _abstract(_state(1), _replicated(1))
    with pytest.raises(ConfigError, match="no failed step to replay"):
        load_failure(folder, like)
    for step in (4, 9):
        save_failure(folder, _state(step), {"step": step, "loss": float("nan")})
    state, info = load_failure(folder, like)
    _assert_same(state, _state(9))
    assert info == {"step": 9, "loss": None, "digest": digest(state)}
    with pytest.raises(ConfigError, match="another state .*wanted nothing"):
        load_failure(folder, {"step": like.step})
    max((folder / "state").rglob("d/*"), key=lambda p: p.stat().st_size).unlink()
    with pytest.raises(ConfigError, match="is damaged"):
        load_failure(folder, like)
    assert capfd.readouterr() == ("", "")


def test_a_reader_disturbs_nothing(tmp_path):
    state = {"w": jnp.arange(3.0)}
    folder = tmp_path / "checkpoints"
    with_writer = Checkpoints(folder, keep=2)
    with_writer.save(1, state, {"step": 1})
    with_writer.wait()
    unfinished = folder / "2.orbax-checkpoint-tmp"
    unfinished.mkdir()
    reader = Checkpoints(folder, keep=1, read_only=True)
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
            x.shape, x.dtype, sharding=SingleDeviceSharding(jax.devices()[0])
        ),
        state,
    )
    found, meta, _ = _found(reader, abstract)
    reader.close()
    assert unfinished.exists() and meta["step"] == 1
    jax.tree.map(np.testing.assert_array_equal, found, state)
    with_writer.close()


def test_threads_are_stopped_even_if_saving_failed(tmp_path, monkeypatch):
    import orbax.checkpoint as ocp

    wait = ocp.CheckpointManager.wait_until_finished
    close = ocp.CheckpointManager.close
    errors, closed = [OSError("full")], []

    def fail_once(self):
        if errors:
            raise errors.pop()
        return wait(self)

    monkeypatch.setattr(ocp.CheckpointManager, "wait_until_finished", fail_once)
    monkeypatch.setattr(
        ocp.CheckpointManager, "close", lambda self: closed.append(close(self))
    )
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=1)
    with pytest.raises(OSError, match="full"):
        checkpoints.close()
    assert closed == [None]
