"""Any module that is a sequence of stages: cut where its author says, compared with its own forward, refused with the place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bpfree.algorithms import make, names, step
from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.nets import Chain, ConvBlock, DenseBlock, MeanOverTokens, from_module, text_of
from bpfree.nets.own import named
from bpfree.testing.bench import RuleOnNet


class Basic(nn.Module):
    """As torchvision's BasicBlock."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """As torchvision's ResNet; what happens between ``layer1`` and ``layer2`` is an argument."""

    def __init__(self, between: Callable[[ResNet, Tensor], Tensor] = lambda _, x: x) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Basic(4, 4, 1), Basic(4, 4, 1))
        self.layer2 = nn.Sequential(Basic(4, 8, 2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 4)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        x = self.layer2(self.between(self, x))
        return self.fc(torch.flatten(self.avgpool(x), 1))


STAGES = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "avgpool", "fc"]
SHAPE = (1, 8, 8)


def a_resnet() -> Chain:
    torch.manual_seed(0)
    return from_module(ResNet(), SHAPE, stages=STAGES)


def test_a_resnet_is_cut_into_its_stages() -> None:
    chain = a_resnet()
    assert [line.split("; ")[-1] for line in chain.describe()] == [
        "conv1 Conv2d, bn1 BatchNorm2d, relu ReLU, maxpool MaxPool2d",
        "layer1.0 Basic",
        "layer1.1 Basic",
        "layer2.0 Basic, avgpool AdaptiveAvgPool2d",
        "output: 8 features -> 4 classes",
    ]


def test_the_chain_computes_what_the_net_does_and_shares_its_parameters() -> None:
    chain = a_resnet()
    net = chain.to_module()
    assert type(net) is ResNet
    assert {id(each) for each in chain.parameters()} == {id(each) for each in net.parameters()}
    x = torch.randn(5, *SHAPE)
    for mode in (True, False):
        net.train(mode)
        chain.train(mode)
        torch.testing.assert_close(chain(x), net(x))
    twin = copy.deepcopy(chain)
    assert {id(each) for each in twin.parameters()} == {id(each) for each in twin.to_module().parameters()}


def test_looking_at_a_net_leaves_no_trace() -> None:
    torch.manual_seed(1)
    net = ResNet().eval()
    net.layer1.train()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    drawn = torch.random.get_rng_state()
    chain = from_module(net, SHAPE, stages=STAGES)
    assert torch.equal(drawn, torch.random.get_rng_state())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())
    assert all(parameter.grad is None for parameter in chain.parameters())


@pytest.mark.parametrize(
    "stages",
    [
        lambda net: [net.conv1, net.bn1, net.relu, net.maxpool, *net.layer1, *net.layer2, net.avgpool, net.fc],
        lambda net: STAGES,
        tuple(STAGES),
    ],
)
def test_stages_are_names_modules_or_a_function(stages: Any) -> None:
    assert from_module(ResNet(), SHAPE, stages=stages).describe() == a_resnet().describe()


def test_a_function_names_the_cut_points() -> None:
    chain = from_module(ResNet(), SHAPE, stages=STAGES, cut=lambda name, _: name in ("layer1.0", "layer2.0"))
    assert [line.split("; ")[-1] for line in chain.describe()[1:3]] == [
        "layer1.0 Basic, layer1.1 Basic",
        "layer2.0 Basic, avgpool AdaptiveAvgPool2d",
    ]
    plain = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2))
    assert len(from_module(plain, (4,), cut=lambda name, module: name == "2")) == 2
    with pytest.raises(UsageError, match=r"block 1 .*ReLU.* has no parameters, so it has nothing to learn"):
        from_module(plain, (4,), cut=lambda name, module: isinstance(module, nn.ReLU) or name == "2")


def test_closed_forms_are_recognised_in_stages() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.hidden, self.head = nn.Conv2d(1, 2, 3), nn.Linear(72, 6), nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.relu(self.hidden(F.relu(self.conv(x)).flatten(1))))

    stages = ["conv", nn.ReLU(), nn.Flatten(), "hidden", nn.ReLU(), "head"]
    chain = from_module(Net(), SHAPE, stages=stages)
    assert [type(block) for block in chain] == [ConvBlock, DenseBlock]
    with pytest.raises(
        UsageError, match=r"between \+ReLU ReLU and hidden Linear .*: \(2, 6, 6\) becomes \(72,\); list nn.Flatten"
    ):
        from_module(Net(), SHAPE, stages=["conv", nn.ReLU(), "hidden", nn.ReLU(), "head"])


BY_GRADIENT = [
    name for name in names() if name not in ("feedback-alignment", "forward-forward", "foton", "pepita", "sign-symmetry")
]


@pytest.mark.parametrize("rule", names())
def test_every_rule_trains_a_resnet_or_refuses_it_in_one_line(rule: str) -> None:
    if rule not in BY_GRADIENT and rule != "forward-forward":
        with pytest.raises(UsageError, match="block 0") as caught:
            RuleOnNet.start(make(rule), a_resnet())
        assert "\n" not in str(caught.value)
        return
    bench = RuleOnNet.start(make(rule), a_resnet())
    before = bench.net.to_module().state_dict()["conv1.weight"].clone()
    assert all(loss.isfinite().all() for loss in bench.all_phases([6]))
    moved = not torch.equal(bench.net.to_module().state_dict()["conv1.weight"], before)
    assert moved == (rule not in ("frozen", "cascaded-forward"))  # these two learn a read-out alone


def _detached(_net: ResNet, x: Tensor) -> Tensor:
    return x.detach()


def _dropped(net: ResNet, x: Tensor) -> Tensor:
    return F.dropout(x, 0.5, net.training)


def _raises_in_training(net: ResNet, x: Tensor) -> Tensor:
    if net.training:
        raise KeyError("aux")
    return x


def _scaled_back(_net: ResNet, x: Tensor) -> Tensor:
    """The values of x, and twice its gradient."""
    return 2.0 * x - x.detach()


@pytest.mark.parametrize(
    ("between", "words"),
    [
        (
            lambda _, x: 2 * x,
            r"between layer1.1 Basic and layer2.0 Basic .*: the values of \(4, 4, 4\) .* are changed; make what",
        ),
        (lambda _, x: F.gelu(x), r"are changed; list nn.GELU\(\) there"),
        (lambda _, x: F.avg_pool2d(x, 2), r"\(4, 4, 4\) becomes \(4, 2, 2\); list nn.AvgPool2d\(2\) there"),
        (
            lambda net, x: net.layer1[1](x),
            "forward uses layer1.1 Basic twice, and the stages list it once; give each use a module",
        ),
        (_dropped, r"^in training mode, between layer1.1 Basic and layer2.0 Basic .*nn.Dropout for F.dropout"),
        (_raises_in_training, "^the net raised KeyError: 'aux'; correct its forward"),
        (_detached, r"stops the gradient behind 'conv1.weight' \(detach, or no_grad\)"),
        (_scaled_back, "gives 'conv1.weight' another gradient than its stages"),
    ],
)
def test_what_happens_between_two_stages_is_refused_with_the_place(between: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        from_module(ResNet(between), SHAPE, stages=STAGES)
    assert "\n" not in str(caught.value)


WITHOUT = {name: [each for each in STAGES if each != name] for name in STAGES}


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        (WITHOUT["fc"], r"leave out the parameter 'fc.weight' of the net \(and 1 more\)"),
        (
            WITHOUT["maxpool"],
            r"between relu ReLU and layer1.0 Basic .*\(4, 8, 8\) becomes \(4, 4, 4\); list maxpool MaxPool2d there",
        ),
        ([*STAGES, "fc"], "the stage 'fc' is listed twice"),
        (
            ["conv1", "bn1", "relu", "maxpool", "layer2", "layer1", "avgpool", "fc"],
            "calls 'layer1.0' where the stages have 'layer2",
        ),
        (["layer1", "layer1.0"], "the stages 'layer1' and 'layer1.0' share parameters"),
        (["conv", *STAGES[1:]], "unknown stage 'conv'; did you mean conv1"),
        ("conv1", "stages must be a list of names or submodules, got a str"),
        ([1], "stage 0 must be a name or a submodule of the net, got a int"),
        ([nn.Linear(2, 2), *STAGES], r"stage 0 \(Linear\) has parameters and is no submodule of the net"),
        (None, r"a ResNet does not say .*stages=\['conv1', 'bn1', 'relu', 'maxpool', ...\]"),
    ],
)
def test_stages_that_are_not_those_of_the_net(stages: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        from_module(ResNet(), SHAPE, stages=stages)
    assert "\n" not in str(caught.value)


class Net(nn.Module):
    """Submodules by name, and a forward of them."""

    def __init__(self, forward: Callable[[Any, Tensor], object], **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.function = forward

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


def linear() -> nn.Linear:
    return nn.Linear(6, 6)


@pytest.mark.parametrize(
    ("net", "stages", "words"),
    [
        (
            Net(lambda n, x: n.head(n.gru(x)[0][:, -1]), gru=nn.GRU(6, 6, batch_first=True), head=linear()),
            ["gru", "head"],
            r"gru GRU returns a tuple, not a tensor; wrap it",
        ),
        (
            Net(lambda n, x: n.head(n.bilinear(n.a(x), x)), a=linear(), bilinear=nn.Bilinear(6, 6, 6), head=linear()),
            ["a", "bilinear", "head"],
            "gives bilinear Bilinear 2 tensors, but a stage takes the one",
        ),
        (Net(lambda n, x: n.head(n.a(x)).softmax(1), a=linear(), head=linear()), ["a", "head"], "returns something else than"),
        (Net(lambda n, x: n.head(n.a(x) + x), a=linear(), head=linear()), ["a", "head"], "between a Linear and head Linear"),
        (Net(lambda n, x: n.head(x), a=linear(), head=linear()), ["a", "head"], "uses a Linear never, and the stages list it"),
        (Net(lambda n, x: (n.head(n.a(x)), x), a=linear(), head=linear()), ["a", "head"], "the net returns a tuple"),
        (Net(lambda n, x: n.head(n.a(x)), a=linear(), head=linear()), ["a"], "leave out the parameter 'head.weight'"),
        (
            Net(lambda n, x: n.head(n.a(x)), a=nn.Embedding(9, 6), head=linear()),
            ["a", "head"],
            r"Embedding takes whole numbers, .*self.inner\(x.long\(\).clamp\(0, 8\)\)",
        ),
    ],
)  # fmt: skip
def test_modules_that_are_no_sequence_of_stages(net: nn.Module, stages: list[str], words: str) -> None:
    shape = (5, 6) if "gru" in stages else (6,)
    with pytest.raises(UsageError, match=words) as caught:
        from_module(net, shape, stages=stages)
    assert "\n" not in str(caught.value)


def test_a_list_of_layers_is_opened_and_tokens_are_averaged_by_the_output() -> None:
    layers = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True) for _ in range(2))

    def forward(net: Any, x: Tensor) -> Tensor:
        x = net.embed(x)
        for layer in net.layers:
            x = layer(x)
        return net.head(net.norm(x).mean(1))

    net = Net(forward, embed=nn.Linear(6, 8), layers=layers, norm=nn.LayerNorm(8), head=nn.Linear(8, 4))
    chain = from_module(net, (5, 6), stages=["embed", "layers", "norm", "head"])
    assert len(chain) == 3
    bench = RuleOnNet.start(make("mono-forward"), chain)
    assert all(loss.isfinite().all() for loss in bench.all_phases([6]))
    first = Net(lambda n, x: n.head(n.norm(n.embed(x))[:, 0]), embed=nn.Linear(6, 8), norm=nn.LayerNorm(8), head=nn.Linear(8, 4))
    with pytest.raises(UsageError, match=r"between norm LayerNorm and head Linear .*\(5, 8\) becomes \(8,\); make what"):
        from_module(first, (5, 6), stages=["embed", "norm", "head"])
    assert isinstance(chain[0].features_module(), MeanOverTokens)


def test_a_body_with_other_parameters_behind_it_gets_an_output() -> None:
    chain = from_module(ResNet(), SHAPE, 3, stages=WITHOUT["fc"])
    assert chain.n_classes == 3 and chain.output.in_features == 8


def test_a_pair_of_module_and_stages_is_a_net_by_text_and_by_object() -> None:
    text = text_of((ResNet(), STAGES), SHAPE, 4)
    assert text.startswith("Chain-")
    assert named(text, SHAPE, 4).describe() == a_resnet().describe()
    by_function = text_of(lambda in_shape, n_classes: (ResNet(), STAGES), SHAPE, 4)
    assert named(by_function, SHAPE, 4).describe() == a_resnet().describe()


class Reads(nn.Module):
    """Token ids to vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Embedding(7, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.long().clamp(0, 6))


class LastState(nn.Module):
    """A recurrent layer, as the message on its tuple has it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.GRU(8, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)[0]


def a_reader() -> nn.Module:
    parts = {"words": Reads(), "norm": nn.LayerNorm(8), "gru": LastState(), "head": nn.Linear(6, 4)}
    return Net(lambda n, x: n.head(n.gru(n.norm(n.words(x))).mean(1)), **parts)


@pytest.mark.parametrize(
    ("build", "stages", "shape"),
    [(ResNet, STAGES, SHAPE), (a_reader, ["words", "norm", "gru", "head"], (5,))],
    ids=["batch norms and residuals", "embedding, layer norm and recurrence"],
)
def test_backprop_on_the_blocks_is_torchs_own_training_of_the_module(
    build: Any, stages: list[str], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    module = build().double()
    twin = copy.deepcopy(module)
    chain = from_module(module, shape, stages=stages, keep_weights=True)
    generator = torch.Generator().manual_seed(1)
    batches = [(torch.randn(6, *shape, generator=generator).double() * 3, torch.arange(6) % 4) for _ in range(3)]
    rule = make("backprop", {"lr": 0.01})
    state = rule.init(chain, generator)
    adam = torch.optim.Adam(twin.parameters(), lr=0.01)
    for k, (x, y) in enumerate(batches):
        step(rule, chain, state, Batch(x.clone(), y, torch.tensor(k)), rule.phases(chain)[0])
        adam.zero_grad()
        F.cross_entropy(twin(x), y).backward()
        adam.step()
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(module.state_dict()[name], value, rtol=1e-6, atol=1e-6)
