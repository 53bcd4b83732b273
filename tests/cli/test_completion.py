"""What a shell is offered behind TAB, by the protocol of its completion script; torch is not imported for it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bpfree import catalogue
from bpfree.cli import run

SCRIPT = """
import contextlib, io, json, os, sys
from bpfree.cli import run
seen = {}
for line in json.loads(sys.argv[1]):
    os.environ |= {"_BPFREE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        run([])
    seen[line] = out.getvalue().split()
print(json.dumps([seen, sorted(sys.modules)]))
"""

OFFERED = {
    "bpfree ex": ["export"],
    "bpfree train mono": ["mono-forward"],
    "bpfree train backprop --net v": ["vit"],
    "bpfree train backprop --net vit:he": ["vit:heads="],
    "bpfree compare --dataset fash": ["fashion-mnist"],
    "bpfree compare --ruleset qui": ["quick"],
    "bpfree compare --arms backprop,pep": ["backprop,pepita"],
    "bpfree tune mono-forward:schedule=st": ["mono-forward:schedule=staged"],
    "bpfree tune mono-forward:raw": ["mono-forward:raw_projection="],
    "bpfree reproduce spyra2025": ["spyra2025"],
    "bpfree cite pepita fot": ["foton"],
    "bpfree analyse alignment --rule froz": ["frozen"],
    "bpfree measure flops --net mix": ["mixer"],
    "bpfree doctor --device cu": ["cuda"],
    "bpfree list ne": ["nets"],
    "bpfree list suites mf": ["mf2025"],
    "bpfree list rulesets qu": ["quick"],
}


def test_values_are_offered_without_torch() -> None:
    made = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([*OFFERED, "bpfree train "])], text=True, capture_output=True, check=False
    )
    assert made.returncode == 0, made.stderr
    seen, modules = json.loads(made.stdout)
    assert {line: seen[line] for line in OFFERED} == OFFERED
    assert set(catalogue.rules()) <= set(seen["bpfree train "])
    assert {"torch", "scipy", "altair", "optuna", "pandas"} & set(modules) == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_shown(shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("_BPFREE_COMPLETE", f"source_{shell}")
    with pytest.raises(SystemExit) as ended:
        run([])
    assert ended.value.code in (0, None)
    assert "_BPFREE_COMPLETE" in capsys.readouterr().out
