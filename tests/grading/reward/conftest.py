"""A server made by hand, and a tiny reward model made from its configuration."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
)


class HandMadeServer:
    """Answers each POST with what `reply(body)` returns: a status to fail with, or JSON.

    At `/chat/completions` a reply that is a text is a chat model's, sent as a stream.
    """

    def __init__(self, reply):
        self.requests, self.headers = [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(body)
                outer.headers.append(dict(self.headers))
                answer = reply(body)
                if isinstance(answer, int):
                    self.send_error(answer, "no", "key sk-secret is wrong")
                    return
                stream = self.path.endswith("/chat/completions") and isinstance(answer, str)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(_events(answer) if stream else json.dumps(answer).encode())

            def log_message(self, *arguments):
                pass

        self.server = _Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        # The interval is what closing waits for.
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class _Quiet(ThreadingHTTPServer):
    """Says nothing of clients that hang up, as those with a deadline do."""

    def handle_error(self, request, client_address):
        pass


def _events(text: str) -> bytes:
    half = len(text) // 2
    events = [{"choices": [{"delta": {"content": piece}}]} for piece in (text[:half], text[half:])]
    events.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    return (
        b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in events) + b"data: [DONE]\n"
    )


@pytest.fixture
def serve():
    """Start servers: `serve(reply)`."""
    servers = []

    def start(reply) -> HandMadeServer:
        servers.append(HandMadeServer(reply))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def chat_tokenizer(tokenizer):
    """The byte-level tokenizer with a chat template."""
    import copy

    made = copy.deepcopy(tokenizer)
    made.chat_template = TEMPLATE
    return made


@pytest.fixture(scope="session")
def encoder(chat_tokenizer):
    from qwq_env.dialect.codec import TokenCodec
    from qwq_env.grading.reward.conversation import ConversationEncoder

    return ConversationEncoder(chat_tokenizer, TokenCodec(chat_tokenizer))


@pytest.fixture(scope="session")
def reward_checkpoint(chat_tokenizer, tmp_path_factory):
    """The folder of a reward model of random weights, its heads as large as vLLM wants them.

    With larger weights it would be chaotic: another CPU's rounding would change its scores.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForSequenceClassification

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(chat_tokenizer), hidden_size=64, intermediate_size=64, num_labels=1,
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=512, pad_token_id=chat_tokenizer.pad_token_id,
        initializer_range=0.1,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("reward-model")
    Qwen2ForSequenceClassification(config).save_pretrained(folder)
    chat_tokenizer.save_pretrained(folder)
    return folder
