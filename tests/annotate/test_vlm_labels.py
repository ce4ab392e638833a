"""Labels from a local server instead of a vision-language model, with valid, invalid, late and missing answers."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import tiny
from PIL import Image

from wla.annotate.chat_client import ChatClient
from wla.annotate.segments import Segment
from wla.annotate.vlm_labels import label_dataset
from wla.data.lerobot.reader import LeRobotDataset

GOOD = json.dumps({"segments": [{"start": 0, "end": 3, "text": "抓住方块"}, {"start": 5, "end": 9, "text": "let go"}]})
SEGMENTS = [Segment(e, *rest) for e in (0, 1) for rest in ((0, 3, "抓住方块"), (5, 9, "let go"))]
OVERLAP = json.dumps({"segments": [{"start": 0, "end": 5, "text": "a"}, {"start": 5, "end": 9, "text": "b"}]})

Reply = tuple[int, str]


class Stub:
    """Chat completions server. reply: returns status and text of the response to a request, given its number."""

    def __init__(self) -> None:
        self.requests: list[dict] = []
        self.keys: list[str | None] = []
        self.reply: Callable[[int], Reply] = lambda number: (200, GOOD)
        self.delay = 0.0
        self.raw: Callable[[BaseHTTPRequestHandler], None] | None = None
        """Writes the whole response instead of `reply`."""
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                stub.requests.append(json.loads(body))
                stub.keys.append(self.headers["Authorization"])
                time.sleep(stub.delay)
                if stub.raw is not None:
                    return stub.raw(self)
                status, text = stub.reply(len(stub.requests) - 1)
                response = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(response)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):  # the client has given up
                    self.wfile.write(response)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def client(self, timeout: float = 10.0) -> ChatClient:
        return ChatClient(self.url, "model", timeout=timeout, backoff=0.001)


@pytest.fixture
def stub() -> Iterator[Stub]:
    yield from serving()


def serving() -> Iterator[Stub]:
    stub = Stub()
    thread = threading.Thread(target=stub.server.serve_forever, args=(0.01,))
    thread.start()
    yield stub
    stub.server.shutdown()
    thread.join()
    stub.server.server_close()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_dataset(tmp_path_factory.mktemp("data") / "d")


@pytest.fixture
def dataset(pristine: Path, tmp_path: Path) -> LeRobotDataset:
    return LeRobotDataset(shutil.copytree(pristine, tmp_path / "d"))


def test_requests_contain_key_frames_and_answers_become_segments(stub, dataset):
    assert label_dataset(dataset, stub.client(), frames=4) == SEGMENTS
    parts = stub.requests[0]["messages"][0]["content"]
    assert dataset.episodes[0].instruction in parts[0]["text"]
    assert [part["text"] for part in parts[1::2]] == ["frame 0", "frame 3", "frame 6", "frame 9"]
    header, _, data = parts[2]["image_url"]["url"].partition(",")
    assert header == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (32, 32)


def test_a_repeated_run_sends_no_requests_and_other_frames_send_new_ones(stub, dataset):
    label_dataset(dataset, stub.client(), frames=4)
    assert label_dataset(dataset, stub.client(), frames=4) == SEGMENTS
    assert len(stub.requests) == 2
    label_dataset(dataset, stub.client(), frames=5)
    assert len(stub.requests) == 4


@pytest.mark.parametrize(
    "text", [f"Here it is:\n```json\n{GOOD}\n```\nDone.", f"Sure: {GOOD} That is all.", f"```\n{GOOD}\n```"]
)
def test_text_around_the_json_is_ignored(stub, dataset, text):
    stub.reply = lambda number: (200, text)
    assert label_dataset(dataset, stub.client(), frames=4) == SEGMENTS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("I cannot see a robot.", "one JSON object"),
        (OVERLAP, "overlap"),
        ('{"segments": []}', "no segments"),
        ('{"segments": [{"start": 0, "end": 99, "text": "a"}]}', "0 .. 9"),
        ('{"segments": [{"start": 0, "end": 1, "text": " "}]}', "text is empty"),
        ('{"segments": [{"start": 0, "end": "1", "text": "a"}]}', "segments.0.end"),
    ],
)
def test_an_invalid_answer_is_returned_with_the_reason_and_finally_an_error(stub, dataset, text, message):
    stub.reply = lambda number: (200, text if number == 0 else GOOD)
    assert label_dataset(dataset, stub.client(), frames=4) == SEGMENTS
    assert message in stub.requests[1]["messages"][-1]["content"]
    stub.reply = lambda number: (200, text)
    pattern = rf"d episode 0: model gave no valid answer in 3 attempts .*{message}"
    with pytest.raises(ValueError, match=pattern) as caught:
        label_dataset(dataset, stub.client(), frames=5)
    assert "nothing was changed; answers so far are cached in" in str(caught.value)


def test_requests_are_repeated_after_temporary_errors(stub, dataset):
    stub.reply = lambda number: (500, "") if number < 3 else (200, GOOD)
    assert label_dataset(dataset, stub.client(), frames=4) == SEGMENTS


def test_after_an_error_the_same_command_resumes(stub, dataset):
    stub.reply = lambda number: (200, GOOD) if number == 0 else (500, "")
    pattern = r"episode 1: .*no response in 4 attempts \(HTTP 500.*repeat the command to resume"
    with pytest.raises(ValueError, match=pattern):
        label_dataset(dataset, stub.client(), frames=4)
    stub.requests.clear()
    stub.reply = lambda number: (200, GOOD)
    assert label_dataset(dataset, stub.client(), frames=4) == SEGMENTS
    assert len(stub.requests) == 1


def test_a_refused_request_is_not_repeated(stub, dataset):
    stub.reply = lambda number: (404, "no such model")
    with pytest.raises(ValueError, match=r"request refused \(HTTP 404 .*no such model.*correct the URL, model or API"):
        label_dataset(dataset, stub.client(), frames=4)
    assert len(stub.requests) == 1


def test_a_server_that_is_too_slow_or_absent_is_an_error(stub, dataset):
    stub.delay = 0.3
    with pytest.raises(ValueError, match=r"no response in 4 attempts \(.*(timed out|within 0.05 s)"):
        label_dataset(dataset, stub.client(timeout=0.05), frames=4)
    with pytest.raises(ValueError, match=r"no response in 4 attempts \(.*refused"):
        label_dataset(dataset, ChatClient("http://127.0.0.1:9", "model", backoff=0.001), frames=4)


def test_an_interrupt_reports_the_cached_answers(stub, dataset, monkeypatch):
    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    client = stub.client()
    monkeypatch.setattr(client, "chat", interrupted)
    with pytest.raises(KeyboardInterrupt, match="answers so far are cached"):
        label_dataset(dataset, client, frames=4)


def test_the_api_key_is_read_from_the_environment(stub, dataset, monkeypatch):
    with pytest.raises(ValueError, match="NO_SUCH_KEY: no such environment variable"):
        ChatClient(stub.url, "model", api_key_env="NO_SUCH_KEY")
    monkeypatch.setenv("SOME_KEY", "abc")
    label_dataset(dataset, ChatClient(stub.url, "model", api_key_env="SOME_KEY"), frames=4)
    assert stub.keys == ["Bearer abc"] * 2


@pytest.fixture
def other() -> Iterator[Stub]:
    yield from serving()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_api_key_follows_no_redirect(stub, other, monkeypatch, status):
    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Location", f"{other.url}/chat/completions?key=secret")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    stub.raw = redirect
    monkeypatch.setenv("SOME_KEY", "secret")
    client = ChatClient(stub.url, "model", api_key_env="SOME_KEY", backoff=0.001)
    with pytest.raises(ValueError, match=rf"refused .HTTP {status} .*redirects to http://127.0.0.1/v1/chat") as caught:
        client.chat([])
    assert other.requests == []
    assert "secret" not in str(caught.value)
    assert len(stub.requests) == 1


def drip(header: bool) -> Callable[[BaseHTTPRequestHandler], None]:
    """A response that never ends, a byte at a time; each byte comes in time."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        start = b"HTTP/1.1 200 OK\r\n" if header else b"HTTP/1.1 200 OK\r\n\r\n"
        with contextlib.suppress(OSError):
            handler.wfile.write(start)
            for _ in range(100):
                handler.wfile.write(b"x")
                time.sleep(0.05)

    return respond


@pytest.mark.parametrize("header", [True, False], ids=["header", "content"])
def test_a_response_that_never_ends_ends(stub, header, monkeypatch):
    monkeypatch.setattr("wla.annotate.chat_client.MAX_ATTEMPTS", 1)
    stub.raw = drip(header)
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"no response in 1 attempts \(no complete response within 0.3 s"):
        stub.client(timeout=0.3).chat([])
    assert time.monotonic() - start < 2


def test_a_response_without_end_is_read_to_a_limit(stub):
    def flood(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(1000):
                handler.wfile.write(b" " * 2**16)

    stub.raw = flood
    with pytest.raises(ValueError, match=r"the response is longer than 1048576 bytes"):
        stub.client().chat([])
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    "content", [b"", b"[" * 200_000, b"null", b'{"choices": {}}', b"\xff\xfe\x00", b'{"choices": [{"message": []}]}']
)
def test_a_response_that_is_something_else_is_one_line(stub, content):
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + content)

    stub.raw = respond
    with pytest.raises(ValueError, match="is not a chat completion"):
        stub.client().chat([])


@pytest.mark.parametrize(
    "text", ["```json {" * 100_000, "{" * 500_000, "{" * 200_000 + "}" * 200_000, "\ud800{}", "```"]
)
def test_a_hostile_answer_is_refused_quickly(stub, dataset, text):
    stub.reply = lambda number: (200, text)
    with pytest.raises(ValueError, match="gave no valid answer in 3 attempts"):
        label_dataset(dataset, stub.client(), frames=4)


def test_the_api_key_is_never_printed(stub, monkeypatch):
    stub.reply = lambda number: (401, "")

    def repeat(handler: BaseHTTPRequestHandler) -> None:
        body = f"wrong key {handler.headers['Authorization']}".encode()
        handler.wfile.write(b"HTTP/1.1 401 no Bearer s3cret here\r\n\r\n" + body)

    stub.raw = repeat
    monkeypatch.setenv("SOME_KEY", " s3cret\n")
    messages = []
    for url in (stub.url, f"{stub.url}?api-key=s3cret"):
        with pytest.raises(ValueError, match="HTTP 401") as caught:
            ChatClient(url, "model", api_key_env="SOME_KEY", backoff=0.001).chat([])
        messages.append(str(caught.value))
    assert stub.keys == ["Bearer s3cret"] * 2
    for key in ("s3cret\nHost: x", "s3cret…", "s3cret\x7f"):
        monkeypatch.setenv("SOME_KEY", key)
        with pytest.raises(ValueError, match="no API key has") as caught:
            ChatClient(stub.url, "model", api_key_env="SOME_KEY")
        messages.append(str(caught.value))
    with pytest.raises(ValueError, match="holds a password") as caught:
        ChatClient("http://user:s3cret@localhost/v1", "model")
    messages.append(str(caught.value))
    assert not any("s3cret" in message for message in messages)


def test_a_url_of_another_scheme_is_refused():
    with pytest.raises(ValueError, match=r"not an http\(s\) URL"):
        ChatClient("file:///data", "model")
