"""``serve``: a browser of this machine sees the runs of one folder, and nothing else of the machine."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfree.cli.serve.listing import page
from bpfree.cli.serve.requests import RefusedRequestError, file_of
from bpfree.cli.serve.server import RunServer

EVIL = "<script>alert(1)<"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, one of them with names that are HTML; beside it what must not be read."""
    top = tmp_path_factory.mktemp("top")
    (top / "secret.txt").write_text("secret")
    root = top / "runs"
    one, other = root / "2026-01-01-digits", root / EVIL
    for path in (one / "report", other):
        path.mkdir(parents=True)
    (one / "report" / "index.html").write_text("<!doctype html><title>a report</title>")
    (one / "records.jsonl").write_text(
        '{"dataset": "digits", "net": "mlp:2x64", "arm": "backprop", "status": "ok", "started_at": "2026-01-01T10:00:00"}\n'
        "half a li\n"
        '{"dataset": "digits", "net": "mlp:2x64", "arm": "frozen", "status": "diverged", "started_at": "2026-01-01T11:00:00"}\n'
    )
    (one / "ruleset.yaml").write_text("name: quick\n")
    (one / "model.safetensors").write_bytes(b"weights")
    (one / ".lock").write_text("")
    (other / "records.jsonl").write_text(f'{{"dataset": "{EVIL}", "net": "{EVIL}", "arm": "{EVIL}", "status": "{EVIL}"}}\n')
    (one / "out.txt").symlink_to(top / "secret.txt")
    (one / "inside.jsonl").symlink_to(one / "records.jsonl")
    (root / "elsewhere").symlink_to(top)
    return root


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[RunServer]:
    with RunServer(folder, 0) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def asked(server: RunServer, target: str, host: str | None = "", method: str = "GET") -> tuple[int, str, http.client.HTTPMessage]:
    """Status, text and headers of an answer; the target goes as it is, without a client's tidying."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, target, skip_host=True)
    if host is not None:
        connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, answer.headers


def test_the_list_of_runs_leads_to_reports_and_records(server: RunServer) -> None:
    status, text, headers = asked(server, "/")
    assert status == 200
    assert '<a href="/2026-01-01-digits/report/index.html">2026-01-01-digits</a>' in text
    for word in ("digits, mlp:2x64", "backprop, frozen", "1 ok, 1 diverged", "quick", "2026-01-01 11:00", "no report yet"):
        assert word in text
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert asked(server, "/2026-01-01-digits/report/index.html?again")[1].endswith("<title>a report</title>")
    status, text, headers = asked(server, "/2026-01-01-digits/records.jsonl")
    assert (status, headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert text.startswith('{"dataset": "digits"')
    assert "sandbox" in headers["Content-Security-Policy"]
    assert asked(server, "/2026-01-01-digits/inside.jsonl")[0] == 200, "a link to a file inside"


def test_a_run_that_goes_on_is_read_again(tmp_path: Path) -> None:
    assert "There are no runs here" in page(tmp_path)
    (tmp_path / "records.jsonl").write_text('{"status": "ok"}\n')
    assert "1 ok" in page(tmp_path)
    (tmp_path / "records.jsonl").write_text('{"status": "ok"}\n{"status": "ok"}\n')
    assert "2 ok" in page(tmp_path)


def test_names_of_users_are_text(server: RunServer) -> None:
    text = asked(server, "/")[1]
    assert EVIL not in text
    assert text.count("&lt;script&gt;alert(1)&lt;") == 5, "folder, data, net, arm, status"
    assert "/%3Cscript%3Ealert%281%29%3C/records.jsonl" in text


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/../secret.txt", 403),
        ("/2026-01-01-digits/../../secret.txt", 403),
        ("/%2e%2e/secret.txt", 403),
        ("/..%2fsecret.txt", 403),
        ("/%252e%252e/secret.txt", 404),
        ("/..\\secret.txt", 400),
        ("/2026-01-01-digits/out.txt", 403),
        ("/elsewhere/secret.txt", 403),
        ("/2026-01-01-digits/.lock", 403),
        ("/2026-01-01-digits/model.safetensors", 404),
        ("/2026-01-01-digits", 404),
        ("/2026-01-01-digits/", 404),
        ("//etc/passwd", 404),
        ("/%00", 400),
        ("/" + 300 * "a", 404),
        ("http://127.0.0.1/secret.txt", 400),
        ("secret.txt", 400),
    ],
)
def test_nothing_else_is_read(server: RunServer, target: str, status: int) -> None:
    got, text, headers = asked(server, target)
    assert (got, "secret" in text) == (status, False)
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", None, "localhost.evil.example"]
)
def test_other_hosts_names_are_refused(server: RunServer, host: str | None) -> None:
    given = host and host.format(port=server.server_port)
    if given == "":
        given = " "
    assert asked(server, "/", host=given)[0] == 421


def test_localhost_is_this_machine(server: RunServer) -> None:
    assert asked(server, "/", host=f"LocalHost:{server.server_port}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_can_be_written(server: RunServer, method: str) -> None:
    assert asked(server, "/2026-01-01-digits/records.jsonl", method=method)[0] == 501


def test_head_has_no_body(server: RunServer) -> None:
    status, text, headers = asked(server, "/2026-01-01-digits/records.jsonl", method="HEAD")
    assert (status, text) == (200, "")
    assert int(headers["Content-Length"]) > 100


def test_no_other_machine_can_connect(server: RunServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"


def test_a_link_that_leads_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "circle.txt").symlink_to(tmp_path / "circle.txt")
    with pytest.raises(RefusedRequestError, match="no such file"):
        file_of(tmp_path, "/circle.txt")


def test_mistakes_are_one_line(bpfree, tmp_path: Path) -> None:
    assert "is not a directory" in bpfree("serve", "nowhere").one_line()
    assert "--port must be from 0 to 65535" in bpfree("serve", str(tmp_path), "--port", "70000").one_line()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} cannot be used" in bpfree("serve", str(tmp_path), "--port", str(port)).one_line()


def test_it_says_where_it_is_opens_it_and_ends_at_ctrl_c(bpfree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def interrupt(self: RunServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(RunServer, "serve_forever", interrupt)
    outcome = bpfree("serve", str(tmp_path), "--port", "0", "--open")
    assert outcome.code == 0
    assert outcome.out.startswith(opened[0])
    assert opened[0].startswith("http://127.0.0.1:")
