"""The architectures: one contract for all of them, then each against the report's own figures."""

import re
import subprocess
import sys
from math import prod
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cnnlab import architectures, models
from cnnlab.core.errors import UserError
from cnnlab.models import blocks, small_maps
from cnnlab.models.summary import layer_table, render_models, summarise

ALL = models.names()
every_architecture = pytest.mark.parametrize("name", ALL)


def make(name, shape=(1, 28, 28), classes=10, seed=0, **options):
    torch.manual_seed(seed)
    return models.build(name, shape, classes, options)


def pictures(count, shape=(1, 28, 28), seed=1):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


# ---- the contract, for every architecture ---------------------------------------------------------------------


@every_architecture
def test_taps_are_the_named_outputs_and_forward_is_the_last(name):
    network, x = make(name).eval(), pictures(3)
    taps = network.taps(x)
    assert list(taps)[-1] == "final"
    assert taps["final"].shape == (3, 10)
    assert torch.equal(network(x), taps["final"])
    assert all(len(value) == 3 and value.isfinite().all() for value in taps.values())
    assert {"conv1", "conv2"} <= set(taps)
    assert {"fc1", "pooled"} & set(taps)


@every_architecture
def test_layers_to_embed_and_to_show_are_taps(name):
    network = make(name).eval()
    taps = network.taps(pictures(2))
    embed = blocks.embed_layers(list(taps))
    assert embed[0] == "conv2"
    assert embed[1] in {"fc1", "pooled"}
    assert embed[2] == "final"
    assert sorted(embed, key=list(taps).index) == list(embed)
    assert taps[embed[1]].dim() == 2
    assert blocks.map_layers(list(taps))[:2] == ["conv1", "conv2"]
    assert network.tap_names((1, 28, 28)) == list(taps)
    assert network.title


@every_architecture
def test_map_layers_are_raw_convolution_outputs(name):
    network, raw = make(name).eval(), []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _layer, _inputs, output: raw.append(output.clone()))
    taps = network.taps(pictures(2))
    for layer in blocks.map_layers(list(taps)):
        assert taps[layer].dim() == 4
        assert any(torch.equal(taps[layer], output) for output in raw), f"{layer} was changed after its layer"


@every_architecture
def test_first_convolution_is_a_key_of_the_state_dict(name):
    network = make(name, shape=(3, 28, 28))
    assert network.first_convolution == next(iter(network.state_dict()))
    assert network.state_dict()[network.first_convolution].shape[1] == 3


@every_architecture
def test_gradient_reaches_every_parameter_and_lowers_the_loss(name):
    network, x, y = make(name), pictures(4), torch.arange(4)
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.eval()
    loss = F.cross_entropy(network(x), y)
    loss.backward()
    squared = 0.0
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.dim() == 1 or parameter.grad.abs().max() > 0, key
        squared += parameter.grad.square().sum().item()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter -= 0.02 * loss * parameter.grad / squared  # a fiftieth less, to the first order
        assert F.cross_entropy(network(x), y) < loss


@every_architecture
def test_no_leak_between_pictures_of_a_batch(name):
    network, x = make(name).eval(), pictures(3)
    alone = network(x[:1])
    spoilt = x.clone()
    spoilt[1:] = torch.nan
    torch.testing.assert_close(network(x)[:1], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(spoilt)[:1], alone, rtol=1e-4, atol=1e-5)


@every_architecture
def test_state_dict_round_trip(name):
    first, second, x = make(name, seed=0).eval(), make(name, seed=1).eval(), pictures(2)
    assert not torch.equal(first(x), second(x))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))


@every_architecture
def test_build_follows_the_seed_alone(name):
    first, second = make(name, seed=3).state_dict(), make(name, seed=3).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@every_architecture
def test_channels_last_gives_the_same_numbers(name):
    network, x = make(name, shape=(3, 32, 32)).eval(), pictures(2, (3, 32, 32))
    expected = network(x)
    found = network.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@every_architecture
@pytest.mark.parametrize(
    ("shape", "classes"),
    [((1, 28, 28), 10), ((3, 32, 32), 2), ((3, 64, 64), 200), ((4, 96, 96), 10), ((2, 29, 45), 7)],
)
def test_adapts_to_pictures_and_classes(name, shape, classes):
    with torch.device("meta"):  # shapes alone: the widest of these would have 40 million weights
        taps = make(name, shape, classes).taps(torch.empty(2, *shape))
    assert taps["final"].shape == (2, classes)


@every_architecture
def test_refuses_pictures_that_are_too_small(name):
    with pytest.raises(UserError, match=r"8 to 256 pixels.*\(1, 4, 28\)"):
        models.build(name, (1, 4, 28), 10)


class Taps(nn.Module):
    """All taps of a network as a tuple, for export."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return tuple(self.network.taps(x).values())


@pytest.mark.parametrize("name", [name for name in ALL if models.load(name).starts_standardised])
def test_standardised_outputs_have_mean_0_and_deviation_1_whatever_the_weights_were(name):
    network, x, seen = make(name), 0.3 * pictures(64) + 2, {}
    for weight in network.parameters():
        weight.data.mul_(5)
    blocks.standardise(network, x)
    assert network.training
    layers = {key: layer for key, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    for key, layer in layers.items():
        layer.register_forward_hook(lambda layer, inputs, output, key=key: seen.update({key: output.detach()}))
    network.eval()(x)
    assert set(seen) == set(layers)
    for output in seen.values():
        others = [0, *range(2, output.ndim)]
        torch.testing.assert_close(output.mean(others), torch.zeros(output.shape[1]), atol=1e-3, rtol=0)
        torch.testing.assert_close(output.std(others), torch.ones(output.shape[1]), atol=1e-3, rtol=0)


@every_architecture
def test_exports_with_a_dynamic_batch(name):
    network = make(name).eval()
    dynamic = ({0: torch.export.Dim("batch", min=1)},)
    program = torch.export.export(Taps(network), (pictures(2),), dynamic_shapes=dynamic)
    found = program.module()(pictures(5))
    for expected, output in zip(network.taps(pictures(5)).values(), found, strict=True):
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)


# ---- the registry ---------------------------------------------------------------------------------------------


def test_names_are_the_files():
    files = {path.stem for path in Path(architectures.__file__).parent.glob("*.py")}
    assert models.names() == sorted(files - {"__init__"})
    assert {"googlenet", "lenet", "mynet", "nin", "resnet", "swift", "vgg"} <= set(models.names())


def test_listing_imports_no_torch():
    code = "import sys, cnnlab.models as m; assert m.names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_new_file_is_an_architecture(tmp_path, monkeypatch):
    (tmp_path / "tiny.py").write_text(
        "from torch import nn\n"
        "from cnnlab.models.blocks import Network\n"
        "class Tiny(Network):\n"
        "    def __init__(self, shape, classes, width: int = 2):\n"
        "        super().__init__()\n"
        "        self.conv1 = nn.Conv2d(shape[0], width, 3)\n"
        "        self.fc = nn.Linear(width, classes)\n"
        "    def features(self, x, tap):\n"
        "        return tap('conv1', self.conv1(x))\n"
        "    def classify(self, maps, tap):\n"
        "        return self.fc(maps.amax((2, 3)))\n"
    )
    monkeypatch.setattr(architectures, "__path__", [*architectures.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "cnnlab.architectures.tiny", raising=False)
    assert "tiny" in models.names()
    assert models.build("tiny", (1, 8, 8), 3, {"width": 4}).taps(pictures(2, (1, 8, 8)))["conv1"].shape[1] == 4
    (tmp_path / "hollow.py").write_text("")
    with pytest.raises(TypeError, match="exactly one Network"):
        models.build("hollow", (1, 8, 8), 3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lennet", {}, "no architecture 'lennet' (did you mean 'lenet'?); known are googlenet, lenet, mynet"),
        ("blocks", {}, "no architecture 'blocks'"),
        ("../lenet", {}, "no architecture '../lenet'"),
        ("lenet", {"act": "rellu"}, "option 'act' is 'rellu', which is not allowed (did you mean 'relu'?)"),
        ("lenet", {"act": None}, "'sigmoid', 'relu', 'tanh', 'leaky_relu', 'elu', 'gelu' or 'silu'"),
        ("lenet", {"norm": "layer"}, "input should be 'none' or 'batch'"),
        ("lenet", {"pool": "min"}, "input should be 'avg' or 'max'"),
        ("lenet", {"poll": "max"}, "no option 'poll' (did you mean 'pool'?); it takes act, norm, pool"),
        ("lenet", {"kernel_size": 4}, "option 'kernel_size' is 4, which is not allowed: input should be odd"),
        ("lenet", {"kernel_size": 13}, "less than or equal to 11"),
        ("lenet", {"kernel_size": True}, "valid integer"),
        ("lenet", {"kernel_size": "5"}, "valid integer"),
        ("lenet", {"channels": [6, 0]}, "option 'channels' is [6, 0]"),
        ("lenet", {"channels": [6]}, "at least 2 items"),
        ("lenet", {"channels": [6, 16, 32]}, "at most 2 items"),
        ("lenet", {"channels": [6, 16.5]}, "valid integer"),
        ("mynet", {"pool": "max"}, "mynet has no option 'pool'; it takes norm, act"),
        ("vgg", {"dropout": 1}, "option 'dropout' is 1, which is not allowed: input should be less than 1"),
        ("vgg", {"dropout": float("nan")}, "option 'dropout' is nan"),
        ("nin", {"dropout": "x" * 99}, "xxx..., which is not allowed: input should be a valid number"),
        ("googlenet", {"relu": "reprot"}, "did you mean 'report'?"),
        ("resnet", {"norm": "none"}, "resnet has no option 'norm'; it takes none"),
    ],
)
def test_a_mistake_gives_one_sentence(name, options, message):
    with pytest.raises(UserError) as caught:
        models.build(name, (1, 28, 28), 10, options)
    assert message in str(caught.value)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("classes", [1, 0, -3, True, 2.0])
def test_refuses_an_impossible_number_of_classes(classes):
    with pytest.raises(UserError, match="at least 2"):
        models.build("lenet", (1, 28, 28), classes)


@pytest.mark.parametrize("shape", [(0, 28, 28), (1, 28), (1, 28, 28, 1), (1, 28, 257)])
def test_refuses_what_is_not_a_picture(shape):
    with pytest.raises(UserError, match="pictures must have"):
        models.build("lenet", shape, 10)


@pytest.mark.parametrize(("kernel_size", "least"), [(5, 12), (11, 24)])
def test_pictures_that_are_too_small_are_named_with_their_size(kernel_size, least):
    # A side s leaves s//2 after the first pooling, k-1 less after the second convolution, and needs 2 then.
    options = {"kernel_size": kernel_size}
    with pytest.raises(UserError, match=f"does not take pictures of {least - 1}×28 pixels: they are too small"):
        models.build("lenet", (1, least - 1, 28), 10, options)
    models.build("lenet", (1, least, least), 10, options)


@pytest.mark.parametrize("message", ["[enforce fail] DefaultCPUAllocator: not enough memory", "a fault of the layer"])
def test_another_fault_of_torch_is_not_taken_for_small_pictures(monkeypatch, message):
    def fail(*_):
        raise RuntimeError(message)

    monkeypatch.setattr(models.load("lenet"), "forward", fail)
    with pytest.raises(RuntimeError, match=re.escape(message)):
        models.build("lenet", (1, 28, 28), 10)


# ---- the report's figures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # (5·5·1+1)·6 + (5·5·6+1)·16 + (400+1)·120 + (120+1)·84 + (84+1)·10
        ("lenet", 61_706),
        # (9·1+1)·16 + (9·16+1)·32 + (9·32+1)·64 + (4096+1)·512 + (512+1)·10, and 2·(16+32+64+512) of BN
        ("mynet", 2_127_338),
        # (9·1+1)·32 + (9·32+1)·64 + (3136+1)·1024 + (1024+1)·512 + (512+1)·10
        ("vgg", 3_761_034),
        # (25·1+1)·96 + 2·97·96 + (9·96+1)·256 + 2·257·256 + (9·256+1)·384 + 2·385·384 + (9·384+1)·10
        ("nin", 1_589_514),
        ("googlenet", 5_977_530),
        ("resnet", 11_104_266),
        # 9·16 + 9·16·48 + 9·48·64 + 3136·256 + (256+1)·10, and 2·(16+48+64+256) of BN
        ("swift", 840_858),
    ],
)
def test_parameters_by_hand_and_by_the_reports(name, parameters):
    assert sum(parameter.numel() for parameter in make(name).parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "multiply_adds"),
    [
        # 28²·6·25 + 10²·16·6·25 + 400·120 + 120·84 + 84·10
        ("lenet", 117_600 + 240_000 + 48_000 + 10_080 + 840),
        # 32²·16·9 + 16²·32·16·9 + 8²·64·32·9 + 4096·512 + 512·10
        ("mynet", 147_456 + 1_179_648 + 1_179_648 + 2_097_152 + 5_120),
        # 28²·32·9 + 14²·64·32·9 + 3136·1024 + 1024·512 + 512·10
        ("vgg", 225_792 + 3_612_672 + 3_211_264 + 524_288 + 5_120),
        # 28²·(96·25 + 2·96²) + 14²·(256·96·9 + 2·256²) + 7²·(384·256·9 + 2·384² + 10·384·9)
        ("nin", 16_332_288 + 69_042_176 + 59_496_192),
        # 28²·16·9 + 14²·48·16·9 + 7²·64·48·9 + 3136·256 + 256·10
        ("swift", 112_896 + 1_354_752 + 1_354_752 + 802_816 + 2_560),
    ],
)
def test_multiply_adds_by_hand(name, multiply_adds):
    assert summarise(name, (1, 28, 28), 10).multiply_adds == multiply_adds


def test_small_swift_by_hand():
    # 9·16 + 9·16·48 + 9·48·48 + 9·48·64 + 9·64·64 + 49·64 + (64+1)·10, and 2·(16+48+48+64+64+64) of BN
    assert sum(parameter.numel() for parameter in make("swift", small=True).parameters()) == 96_698 < 100_000
    # 28²·16·9 + 14²·48·16·9 + 7²·(48·48 + 64·48 + 64·64)·9 + 64·49 + 64·10
    multiply_adds = 112_896 + 1_354_752 + 1_016_064 + 1_354_752 + 1_806_336 + 3_136 + 640
    assert summarise("swift", (1, 28, 28), 10, {"small": True}).multiply_adds == multiply_adds


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 96, 96), (1, 28, 40)])
def test_small_swift_weighs_each_place_of_a_channel(shape):
    network = make("swift", shape, 4, width=4, small=True).eval()
    taps = network.taps(pictures(3, shape))
    maps = network.features(pictures(3, shape), blocks.untapped)
    torch.testing.assert_close(taps["fc1"], (maps * network.fc1.weight[:, 0]).sum((2, 3)))
    assert taps["fc1"].shape == (3, 16)
    assert taps["final"].shape == (3, 4)


def test_lenet_layer_shapes_are_the_reports():
    kinds = {"Conv2d", "AvgPool2d", "Flatten", "Linear"}
    table = layer_table(make("lenet"), (1, 28, 28))
    assert [row.output_shape for row in table if row.kind in kinds] == [
        (6, 28, 28),
        (6, 14, 14),
        (16, 10, 10),
        (16, 5, 5),
        (400,),
        (120,),
        (84,),
        (10,),
    ]


TAP_SHAPES = {
    "lenet": {"conv1": (6, 28, 28), "conv2": (16, 10, 10), "fc1": (120,), "fc2": (84,), "final": (10,)},
    "mynet": {
        "conv1": (16, 32, 32),
        "bn1": (16, 32, 32),
        "conv2": (32, 16, 16),
        "bn2": (32, 16, 16),
        "conv3": (64, 8, 8),
        "bn3": (64, 8, 8),
        "fc1": (512,),
        "bn4": (512,),
        "final": (10,),
    },
    "vgg": {"conv1": (32, 28, 28), "conv2": (64, 14, 14), "fc1": (1024,), "fc2": (512,), "final": (10,)},
    "nin": {
        "conv1": (96, 28, 28),
        "conv2": (256, 14, 14),
        "conv3": (384, 7, 7),
        "pooled": (384,),
        "conv4": (10, 7, 7),
        "final": (10,),
    },
    "googlenet": {
        "conv1": (64, 12, 12),  # (28 + 2·1 - 7) // 2 + 1
        "conv2": (64, 6, 6),
        "conv3": (192, 6, 6),
        "inception3a": (256, 3, 3),
        "inception3b": (480, 3, 3),
        "inception4a": (512, 2, 2),
        "inception4b": (512, 2, 2),
        "inception4c": (512, 2, 2),
        "inception4d": (528, 2, 2),
        "inception4e": (832, 2, 2),
        "inception5a": (832, 1, 1),
        "inception5b": (1024, 1, 1),
        "pooled": (1024,),
        "final": (10,),
    },
    "resnet": {
        "conv1": (64, 14, 14),
        "conv2": (64, 7, 7),
        "block1": (64, 7, 7),
        "block2": (128, 4, 4),
        "block3": (128, 4, 4),
        "block4": (256, 2, 2),
        "block5": (256, 2, 2),
        "block6": (512, 1, 1),
        "block7": (512, 1, 1),
        "pooled": (512,),
        "final": (10,),
    },
    "swift": {"conv1": (16, 28, 28), "conv2": (48, 14, 14), "conv3": (64, 7, 7), "fc1": (256,), "final": (10,)},
}


@pytest.mark.parametrize("name", TAP_SHAPES)
def test_tap_shapes_by_hand_and_by_the_reports(name):
    taps = make(name).eval().taps(pictures(1))
    assert [(key, tuple(value.shape[1:])) for key, value in taps.items()] == list(TAP_SHAPES[name].items())


# ---- blocks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 3), (2, 3), (1, 3), (4, 4)])
@pytest.mark.parametrize("shape", [(1, 1, 0), (1, 2, 0), (1, 1, 1), (3, 1, 1), (3, 2, 1), (5, 1, 2), (7, 2, 3)])
@pytest.mark.parametrize(("count", "side"), [(small_maps.FEW, 3), (4, 2)])
def test_a_convolution_on_a_tiny_map_is_the_same_function(size, shape, count, side, monkeypatch):
    kernel, stride, padding = shape
    ours, plain = (
        layer(5, 7, kernel, stride, padding, bias=stride == 1).double()
        for layer in (small_maps.SmallMapConv2d, nn.Conv2d)
    )
    plain.load_state_dict(ours.state_dict())
    x = pictures(count, (5, *size)).double()
    calls, convolve = [], nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, input: calls.append(self) or convolve(self, input))
    results = []
    for layer in (ours, plain):
        seen = x.clone().requires_grad_()
        output = layer(seen)
        (output**2).sum().backward()
        results.append([output, seen.grad, *(parameter.grad for parameter in layer.parameters())])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)
    assert calls == ([ours, plain] if max(size) > side else [plain])


def test_a_network_that_was_measured_first_can_still_be_trained():
    """A run taken from its checkpoint is measured, and the next seed trained, in one process."""
    small_maps._tap_table.cache_clear()
    network = make("resnet").train()
    with torch.inference_mode():
        network(pictures(2))
    network(pictures(2)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


# ---- options --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.MaxPool2d(3, 2, 1)])
@pytest.mark.parametrize("act", blocks.ACTIVATIONS)
def test_the_cheaper_order_of_activation_and_pooling_is_exact(act, pool):
    activation = blocks.ACTIVATIONS[act]()
    plain, cheap = (pictures(2, (3, 9, 9)).requires_grad_() for _ in range(2))
    weights = pictures(1, pool(plain).shape[1:], seed=5)
    expected = pool(activation(plain))
    found = blocks.activate_and_pool(act, pool)(cheap)
    torch.testing.assert_close(found, expected)
    (expected * weights).sum().backward()
    (found * weights).sum().backward()
    torch.testing.assert_close(cheap.grad, plain.grad)


@pytest.mark.parametrize(
    ("act", "at_minus_one"),
    [
        ("sigmoid", 0.26894),
        ("relu", 0.0),
        ("tanh", -0.76159),
        ("leaky_relu", -0.01),
        ("elu", -0.63212),
        ("gelu", -0.15866),
        ("silu", -0.26894),
    ],
)
@pytest.mark.parametrize("name", ["lenet", "mynet"])
def test_every_activation_is_the_one_named(name, act, at_minus_one):
    network = make(name, act=act).eval()
    last = network.act4(torch.tensor([-1.0]))
    assert last.item() == pytest.approx(at_minus_one, abs=1e-5)
    assert network(pictures(2)).isfinite().all()


def test_lenet_norm_follows_every_layer_but_the_last():
    kinds = [row.kind for row in layer_table(make("lenet", norm="batch"), (1, 28, 28))]
    weighted = [index for index, kind in enumerate(kinds) if kind in {"Conv2d", "Linear"}]
    assert [kinds[index + 1] for index in weighted[:-1]] == ["BatchNorm2d"] * 2 + ["BatchNorm1d"] * 2
    assert weighted[-1] == len(kinds) - 1
    assert not any("Norm" in row.kind for row in layer_table(make("lenet"), (1, 28, 28)))


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7, 9, 11])
def test_lenet_kernel_size_and_channels(kernel_size):
    network = make("lenet", kernel_size=kernel_size, channels=[8, 20], pool="max")
    taps = network.eval().taps(pictures(1))
    side = 14 - (kernel_size - 1)
    assert taps["conv1"].shape == (1, 8, 28, 28)
    assert taps["conv2"].shape == (1, 20, side, side)
    assert network.fc1.in_features == 20 * (side // 2) ** 2
    assert {row.kind for row in layer_table(network, (1, 28, 28))} >= {"MaxPool2d"}


def test_mynet_pads_with_zeros_and_its_taps_are_what_they_are_called():
    network, x = make("mynet").train(), pictures(8)
    network(x)  # so that the running statistics are not those of no data
    taps = network.eval().taps(x)
    conv1 = F.conv2d(F.pad(x, (2, 2, 2, 2)), network.conv1.weight, network.conv1.bias, padding=1)
    torch.testing.assert_close(taps["conv1"], conv1, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(taps["bn1"], network.bn1(taps["conv1"]).relu())
    conv2 = network.conv2(F.max_pool2d(taps["bn1"], 2))
    torch.testing.assert_close(taps["conv2"], conv2, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(taps["bn4"], network.bn4(taps["fc1"]).relu())


def test_mynet_without_norm_keeps_its_nine_names():
    network = make("mynet", norm="none", act="tanh").eval()
    taps = network.taps(pictures(2))
    assert list(taps) == list(TAP_SHAPES["mynet"])
    torch.testing.assert_close(taps["bn2"], taps["conv2"].tanh())
    assert sum(parameter.numel() for parameter in network.parameters()) == 2_127_338 - 2 * (16 + 32 + 64 + 512)


@pytest.mark.parametrize("name", ["vgg", "nin"])
def test_dropout_acts_in_training_alone(name):
    x = pictures(2)
    off = make(name, dropout=0)
    assert torch.equal(off.train()(x), off.eval()(x))
    half = make(name, dropout=0.5)
    assert not torch.equal(half.train()(x), half(x))
    assert torch.equal(half.eval()(x), off(x))


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize(("relu", "count"), [("all", 3 + 9 * 6), ("report", 1 + 9 * 2)])
def test_googlenet_has_the_relus_and_the_normalisation_asked_for(relu, count, norm):
    network = make("googlenet", relu=relu, norm=norm).eval()
    kinds = [row.kind for row in layer_table(network, (1, 28, 28))]
    assert kinds.count("BatchNorm2d") == (3 + 9 * 6 if norm == "batch" else 0)
    assert kinds.count("ReLU") == count
    taps = network.taps(pictures(2))
    negative = [name for name, value in taps.items() if name.startswith("inception") and value.min() < 0]
    assert len(negative) == (0 if relu == "all" else 9)


def test_googlenet_has_a_true_five_by_five_branch():
    convolutions = [layer for layer in make("googlenet").modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.kernel_size for layer in convolutions].count((5, 5)) == 9
    assert len(convolutions) == 3 + 9 * 6


# ---- initial weights ------------------------------------------------------------------------------------------


def test_xavier_draws_from_the_generator_alone():
    network, other = make("vgg", seed=0), make("vgg", seed=1)
    before = torch.get_rng_state()
    for each in (network, other):
        blocks.initialise_xavier(each, torch.Generator().manual_seed(7))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))
    assert not network.conv2.bias.any()
    bound = (6 / (9 * 32 + 9 * 64)) ** 0.5  # uniform up to √(6 / (fan-in + fan-out))
    assert network.conv2.weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert network.conv2.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


@pytest.mark.parametrize(("act", "variance"), [("relu", 2 / 400), ("sigmoid", 2 / (400 + 120))])
def test_first_weights_suit_the_activation(act, variance):
    weights = make("lenet", act=act).fc1.weight
    assert weights.var().item() == pytest.approx(variance, rel=0.03)


# ---- the table ------------------------------------------------------------------------------------------------


@every_architecture
def test_layer_table_adds_up_and_leaves_the_network_alone(name):
    network = make(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    table = layer_table(network, (1, 28, 28))
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not any(layer._forward_hooks for layer in network.modules())
    assert sum(row.parameters for row in table) == sum(p.numel() for p in network.parameters())
    assert all(row.multiply_adds % prod(row.output_shape) == 0 for row in table)
    assert table[-1].output_shape == (10,)


def test_the_text_of_the_table():
    options = {"lenet": {"act": "relu", "norm": "batch", "pool": "max", "kernel_size": 3, "channels": [8, 24]}}
    text = render_models((3, 32, 32), 10, options)
    lines = text.splitlines()
    assert lines[0].split() == ["name", "title", "parameters", "multiply-adds"]
    assert [line.split()[0] for line in lines[1:]] == models.names()
    assert f"{summarise('lenet', (3, 32, 32), 10, options['lenet']).parameters:,}" in lines[2]
    layers = render_models((1, 28, 28), 10, layers="lenet").splitlines()
    assert layers[0] == "LeNet-5 for one picture of 1×28×28"
    assert layers[2].split() == ["conv1", "Conv2d", "6×28×28", "156", "117,600"]
    assert layers[-1].split() == ["total", "61,706", "416,520"]
    with pytest.raises(UserError, match="did you mean 'vgg'"):
        render_models((1, 28, 28), 10, layers="vggg")
