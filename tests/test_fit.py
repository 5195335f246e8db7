"""The training loop: its arithmetic against a hand-written loop, its choice of epoch, resuming, several workers."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from ms2img.errors import UsageError
from ms2img.learn.batches import Batch, Batches, ImageBatches, as_input
from ms2img.learn.checkpoint import TrainingState
from ms2img.learn.fit import FitResult, fit
from ms2img.learn.fit_config import FitConfig
from ms2img.learn.hardware import resolve_device, resolve_precision
from ms2img.learn.metrics import roc_auc
from ms2img.learn.predict import predict_probabilities
from ms2img.ms2toimg.cnn import CnnConfig, build_cnn

CPU = torch.device("cpu")
TINY = CnnConfig(filters=4, dense_layers=2, units=16, dropout=0.3)
CONFIG = FitConfig(epochs=5, batch_size=8, learning_rate=3e-3, seed=1, threads=1, precision="float32", device="cpu")


def study(n: int = 36, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [n, 16, 15] noise and targets; the active half has a bright spot."""
    rng = np.random.default_rng(seed)
    target = np.arange(n) % 2
    images = rng.integers(0, 60, (n, 16, 15)).astype(np.uint8)
    images[target == 1, 5:8, 6:9] += 120
    return images, target


def batches_of(config: FitConfig, *, validation: int = 10, rank: int = 0, world_size: int = 1) -> ImageBatches:
    images, target = study()
    return ImageBatches(
        images,
        target,
        train=np.arange(validation, len(images)),
        validation=np.arange(validation),
        batch_size=config.batch_size,
        seed=config.seed,
        device=CPU,
        rank=rank,
        world_size=world_size,
    )


def train(config: FitConfig = CONFIG, cnn: CnnConfig = TINY, reporter: Recorder | None = None, **options) -> FitResult:
    resume = options.pop("resume", None)
    return fit(build_cnn(cnn, 16, 15, seed=2), batches_of(config, **options), config, reporter, resume=resume)


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Recorder:
    """Keeps what it is told; saves and stops after `stop_after` epochs."""

    def __init__(self, stop_after: int | None = None, path: Path | None = None) -> None:
        self.stop_after, self.path = stop_after, path
        self.rows: list[dict[str, float]] = []

    def epoch(self, metrics: Mapping[str, float]) -> None:
        self.rows.append(dict(metrics))

    def checkpoint(self, state: TrainingState) -> None:
        if self.path is not None and state.epoch == self.stop_after:
            state.save(self.path)

    def should_stop(self) -> bool:
        return len(self.rows) == self.stop_after


def test_it_learns_and_reports_every_epoch() -> None:
    recorder = Recorder()
    network = build_cnn(TINY, 16, 15, seed=2)
    config = replace(CONFIG, epochs=30)
    result = fit(network, batches_of(config), config, recorder)
    assert recorder.rows == result.history
    assert [row["epoch"] for row in result.history] == list(range(1, 31))
    network.load_state_dict(result.weights)
    images, target = study(seed=9)  # of the same kind, never seen
    assert roc_auc(target, predict_probabilities(network, images)) > 0.95


def test_steps_equal_a_hand_written_adam() -> None:
    """Two epochs without dropout, the update in float64 numpy, epsilon where Keras has it (Kingma, Ba, section 2)."""
    cnn, config = replace(TINY, dropout=0.0), replace(CONFIG, epochs=2, weight_decay=0.01)
    result = train(config, cnn, validation=0)
    network = build_cnn(cnn, 16, 15, seed=2).double()
    moments = [(np.zeros(p.shape), np.zeros(p.shape)) for p in network.parameters()]
    step, images, losses, accuracies = 0, *study()[:1], [], []
    target = torch.tensor(study()[1], dtype=torch.float64)
    for epoch in (1, 2):
        order = np.random.default_rng((config.seed, epoch)).permutation(len(images))
        total, right = 0.0, 0
        for start in range(0, len(order), config.batch_size):
            rows = order[start : start + config.batch_size]
            x = torch.tensor(images[rows, None] / 255.0)
            p = torch.sigmoid(network(x))
            loss = -(target[rows] * p.log() + (1 - target[rows]) * (1 - p).log()).mean()
            network.zero_grad()
            loss.backward()
            total += loss.item() * len(rows)
            right += int(((p >= 0.5) == (target[rows] == 1)).sum())
            step += 1
            for parameter, (first, second) in zip(network.parameters(), moments, strict=True):
                assert parameter.grad is not None
                gradient, weight = parameter.grad.numpy(), parameter.data.numpy()
                first[...] = 0.9 * first + 0.1 * gradient
                second[...] = 0.999 * second + 0.001 * gradient**2
                update = first * np.sqrt(1 - 0.999**step) / (1 - 0.9**step) / (np.sqrt(second) + 1e-7)
                weight *= 1 - config.learning_rate * config.weight_decay
                weight -= config.learning_rate * update
        losses.append(total / len(order))
        accuracies.append(right / len(order))
    assert [row["train_accuracy"] for row in result.history] == pytest.approx(accuracies)
    np.testing.assert_allclose([row["train_loss"] for row in result.history], losses, rtol=1e-5)
    for name, value in network.state_dict().items():
        np.testing.assert_allclose(result.weights[name].numpy(), value.numpy(), rtol=2e-3, atol=2e-5, err_msg=name)


def test_micro_batches_add_up_to_the_whole_batch() -> None:
    """Uneven parts: a batch of 8 is 3 + 3 + 2, the last one 2; the loss of an ensemble too."""
    for cnn in (replace(TINY, dropout=0.0), replace(TINY, dropout=0.0, members=2)):
        whole = train(cnn=cnn)
        parts = train(replace(CONFIG, micro_batch=3), cnn)
        for one, other in zip(whole.history, parts.history, strict=True):
            assert other == pytest.approx(one, rel=1e-4)
        for name, value in whole.weights.items():
            torch.testing.assert_close(parts.weights[name], value, rtol=1e-3, atol=1e-5, msg=name)
    same = train(replace(CONFIG, micro_batch=CONFIG.batch_size))
    assert equal(same.weights, train().weights)


@pytest.mark.parametrize("scaled", [{"batch_norm": True}, {"linear_member": True}])
def test_micro_batches_are_refused_where_they_would_change_the_model(scaled: dict[str, bool]) -> None:
    cnn = replace(TINY, **scaled)
    with pytest.raises(UsageError, match="micro_batch: 3 is less than the batch of 8, but a normalisation by"):
        train(replace(CONFIG, micro_batch=3), cnn)
    train(replace(CONFIG, micro_batch=8, epochs=1), cnn)


class Scripted(nn.Module):
    """One weight w, its logits w for everything: its validation loss is least where w says the class balance."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.w.expand(len(x))


class Disagreeing(Batches):
    """Trains towards class 1 while the validation part holds two of three of it: its loss falls, then rises."""

    def train(self, epoch: int) -> Iterator[Batch]:
        yield Batch(torch.zeros(3, 1, 1, 1), torch.ones(3), 3, 1.0)

    def validation(self) -> Iterator[Batch]:
        yield Batch(torch.zeros(3, 1, 1, 1), torch.tensor([0.0, 1.0, 1.0]), 3, 1.0)


def test_the_epoch_with_the_lowest_validation_loss_is_kept() -> None:
    config = replace(CONFIG, epochs=40, learning_rate=0.1)
    result = fit(Scripted(), Disagreeing(), config)
    losses = [row["validation_loss"] for row in result.history]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    assert 1 < result.best_epoch < 40
    w = float(result.weights["w"])
    assert w == pytest.approx(math.log(2), abs=0.1)  # sigmoid(log 2) = 2/3
    assert losses[result.best_epoch - 1] == pytest.approx(
        -(2 * math.log(1 / (1 + math.exp(-w))) - math.log1p(math.exp(w))) / 3
    )


def test_patience_and_a_reporter_stop_the_training() -> None:
    config = replace(CONFIG, epochs=40, learning_rate=0.1, patience=3)
    result = fit(Scripted(), Disagreeing(), config)
    assert len(result.history) == result.best_epoch + 3
    assert len(train(reporter=Recorder(stop_after=2)).history) == 2


def test_without_validation_the_last_epoch_counts() -> None:
    network = build_cnn(TINY, 16, 15, seed=2)
    result = fit(network, batches_of(CONFIG, validation=0), CONFIG)
    assert result.best_epoch == CONFIG.epochs
    assert set(result.history[0]) == {"epoch", "train_loss", "train_accuracy"}
    assert equal(result.weights, network.state_dict())


def test_the_last_epoch_is_kept_where_the_config_says_so() -> None:
    config = replace(CONFIG, epochs=40, learning_rate=0.1, keep="last")
    network = Scripted()
    result = fit(network, Disagreeing(), config)
    assert result.best_epoch == 40
    assert equal(result.weights, network.state_dict())
    chosen = fit(Scripted(), Disagreeing(), replace(config, keep="best"))
    assert result.history == chosen.history  # the validation part is told of all the same
    assert float(result.weights["w"]) > float(chosen.weights["w"])


def test_same_seed_same_weights_and_nobody_else_s_randomness() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = train()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    second = train()
    assert equal(first.weights, second.weights)
    assert first.history == second.history
    assert not equal(first.weights, train(replace(CONFIG, seed=2)).weights)


class Unshuffled(Batches):
    """The same batch in every epoch."""

    def train(self, epoch: int) -> Iterator[Batch]:
        images, target = study()
        yield Batch(as_input(torch.tensor(images)), torch.tensor(target, dtype=torch.float32), len(images), 1.0)

    def validation(self) -> Iterator[Batch]:
        yield from ()


def test_every_epoch_drops_other_units() -> None:
    """With a step too small to move a weight, only dropout tells two epochs of one batch apart."""
    config = replace(CONFIG, epochs=2, learning_rate=1e-12)
    for dropout, same in ((0.0, True), (0.5, False)):
        result = fit(build_cnn(replace(TINY, dropout=dropout), 16, 15, seed=2), Unshuffled(), config)
        first, second = (row["train_loss"] for row in result.history)
        assert (first == pytest.approx(second, rel=1e-6)) == same


@pytest.mark.parametrize(
    "cnn", [TINY, replace(TINY, batch_norm=True, pool="each"), replace(TINY, members=2, linear_member=True)]
)
@pytest.mark.parametrize("validation", [10, 0])
def test_resumed_training_equals_an_unbroken_one_bit_for_bit(cnn: CnnConfig, validation: int, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    whole = train(cnn=cnn, validation=validation)
    train(cnn=cnn, validation=validation, reporter=Recorder(stop_after=3, path=path))
    resumed = train(cnn=cnn, validation=validation, resume=path)
    assert equal(whole.weights, resumed.weights)
    assert whole.history == resumed.history
    assert whole.best_epoch == resumed.best_epoch
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.safetensors"]  # no temporary left


def test_a_state_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    train(reporter=Recorder(stop_after=1, path=path))
    with pytest.raises(UsageError, match=r"another training config \(learning_rate differ\)"):
        train(replace(CONFIG, learning_rate=1e-3), resume=path)
    with pytest.raises(UsageError, match="saved from another model"):
        train(cnn=replace(TINY, units=17), resume=path)
    path.write_bytes(b"no such thing")
    with pytest.raises(UsageError, match="cannot be read as a training state"):
        train(resume=path)


@pytest.mark.parametrize(("size", "batch"), [(26, 8), (5, 4), (3, 8)])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_workers_share_every_batch_exactly_once(size: int, batch: int, world: int) -> None:
    images = np.zeros((size, 2, 2), dtype=np.uint8)
    images[:, 0, 0] = np.arange(size)
    parts = [
        ImageBatches(
            images, np.zeros(size), train=np.arange(size), validation=np.arange(0), batch_size=batch, seed=3,
            device=CPU, rank=rank, world_size=world,
        )
        for rank in range(world)
    ]  # fmt: skip
    for epoch in (1, 2):
        seen: list[float] = []
        for shares in zip(*(part.train(epoch) for part in parts), strict=True):
            real = [share for share in shares if share.weight > 0]
            pixels = torch.cat([share.images[:, 0, 0, 0] for share in real]) * 255
            assert len(pixels) == shares[0].size <= batch
            for share in real:
                assert share.weight == pytest.approx(len(share.images) * world / share.size)
            seen += pixels.round().tolist()
        assert sorted(seen) == list(range(size))
    one, two = ([b.images for b in parts[0].train(epoch)] for epoch in (1, 2))
    assert size < 4 or not all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


UNEVEN = 13  # leaves 23 images: batches of 11 = 6 + 5, 11, and 1, of which the second of two workers has none


def _worker(rank: int, world: int, folder: str, micro_batch: int | None) -> None:
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    network = build_cnn(replace(TINY, dropout=0.0), 16, 15, seed=2)
    config = replace(CONFIG, batch_size=11, micro_batch=micro_batch)
    batches = batches_of(config, validation=UNEVEN, rank=rank, world_size=world)
    recorder = Recorder(stop_after=3 if rank == 0 else None)
    result = fit(nn.parallel.DistributedDataParallel(network), batches, config, recorder)
    save_file(result.weights, f"{folder}/{rank}.safetensors")
    (Path(folder) / f"{rank}.json").write_text(json.dumps([row["train_loss"] for row in result.history]))
    dist.barrier()
    # As Ray ends its workers, without Python's finalisation: gloo's threads, which destroy_process_group leaves behind,
    # now and then abort a process that finalises (pytorch/pytorch#179291).
    os._exit(0)


@pytest.mark.parametrize("micro_batch", [None, 5])
def test_two_workers_equal_one(tmp_path: Path, micro_batch: int | None) -> None:
    """Gradients averaged over uneven parts are the gradients of the whole batch, and the first worker's stop counts.

    In micro-batches of 5 the first worker's 6 images are two parts, the second's 5 are one.
    """
    from safetensors.torch import load_file

    mp.spawn(_worker, args=(2, str(tmp_path), micro_batch), nprocs=2)
    alone = train(replace(CONFIG, batch_size=11, epochs=3), replace(TINY, dropout=0.0), validation=UNEVEN)
    for rank in range(2):
        found = load_file(tmp_path / f"{rank}.safetensors")
        for name, value in alone.weights.items():
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5)
        losses = json.loads((tmp_path / f"{rank}.json").read_text())
        np.testing.assert_allclose(losses, [row["train_loss"] for row in alone.history], rtol=1e-5)


def test_bfloat16_follows_float32() -> None:
    config = replace(CONFIG, epochs=10)
    full, half = train(config), train(replace(config, precision="bfloat16"))
    assert (full.precision, half.precision) == ("float32", "bfloat16")
    assert half.history != full.history
    for one, other in zip(full.history, half.history, strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], abs=0.05)
    assert all(value.dtype == torch.float32 for value in half.weights.values())


def test_precision_rule() -> None:
    native = any(flag in Path("/proc/cpuinfo").read_text() for flag in ("avx512_bf16", "amx_bf16"))
    assert resolve_precision("auto", CPU) == (torch.bfloat16 if native else torch.float32)
    if not torch.cuda.is_available():
        assert resolve_device("auto") == CPU
        with pytest.raises(UsageError, match="'cuda', but torch finds no CUDA device"):
            resolve_device("cuda")


def test_a_diverging_training_says_so() -> None:
    config = replace(CONFIG, learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="lower learning rate"):
        train(config)


def test_probabilities_keep_order_and_scale() -> None:
    images, _ = study(150)  # more than one evaluation batch
    network = build_cnn(TINY, 16, 15, seed=2)
    with torch.inference_mode():
        expected = torch.sigmoid(network.eval()(as_input(torch.tensor(images)))).numpy()
    np.testing.assert_allclose(predict_probabilities(network, images), expected, atol=1e-6)
    assert predict_probabilities(network, images[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"epochs": 0}, "epochs: 0; expected an integer, 1 or more"),
        ({"learning_rate": 0}, "learning_rate: 0; expected a number above 0"),
        ({"patience": 0}, "patience: 0; expected an integer, 1 or more"),
        ({"keep": "first"}, "keep: 'first'; expected one of best, last"),
        ({"keep": "last", "patience": 3}, "patience: 3 waits for a better epoch, but keep is 'last'"),
        ({"precision": "half"}, "precision: 'half'; expected one of auto, float32, bfloat16"),
        ({"device": "tpu"}, "device: 'tpu'; expected one of auto, cpu, cuda"),
        ({"epoch": 3}, "unknown key 'epoch'; did you mean 'epochs'"),
    ],
)
def test_config_is_closed(values: dict, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        FitConfig.from_dict(values)
    assert FitConfig.from_dict(CONFIG.to_dict()) == CONFIG


def test_loop_and_network_import_with_numpy_and_torch_alone() -> None:
    forbidden = ["pandas", "pyarrow", "pydantic", "sklearn", "safetensors", "ray", "mlflow", "matplotlib", "yaml"]
    code = (
        "import sys\n"
        f"for name in {forbidden}: sys.modules[name] = None\n"
        "import ms2img.learn.fit, ms2img.learn.splits, ms2img.learn.predict, ms2img.ms2toimg.cnn\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
