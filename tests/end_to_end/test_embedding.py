"""A repository exported with ``--embedding``: its vectors are the reference network's."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as triton
from exported import export_tiny
from served import Served, serve_copy
from tiny import LLAMA, WINDOW

from megatick_client import BadRequest, Client, ModelNotReady
from megatick_contract import EMBEDDING_MODEL
from megatick_contract.tensors import NUMPY_DTYPES

pytestmark = pytest.mark.triton

TOLERANCE = 1e-4
"""Of a hidden state of about unit variance, in float32."""

TEXTS = [
    "".join(chr(97 + (7 * i + j * j) % 26) for j in range(1 + 11 * i % WINDOW))
    for i in range(40)  # more than one request holds, of 1 to 95 tokens
]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    exported = export_tiny(tmp_path_factory.mktemp("embedding"), embedding=True)
    with serve_copy(exported, tmp_path_factory.mktemp("served_embedding")) as served:
        yield served


@pytest.fixture
def embedding_client(embedder: Served) -> Iterator[Client]:
    with Client(embedder.server.endpoints.grpc, timeout_s=30) as client:
        yield client


def test_the_vectors_are_the_reference_networks(
    embedder: Served, embedding_client: Client
) -> None:
    found = embedding_client.embed(TEXTS)

    expected = np.array([embedder.last_hidden_state(text) for text in TEXTS])
    assert expected.shape == (40, LLAMA.hidden_size)
    assert np.ptp(expected, axis=0).min() > 0.1, "vectors alike would prove nothing"
    np.testing.assert_allclose(found.values, expected, atol=TOLERANCE)
    assert found.values.dtype == np.float32
    assert found.tokens.tolist() == [len(text) for text in TEXTS]  # one a letter
    assert not found.truncated.any()


def test_embeddings_and_sentiments_are_answered_from_one_batch(
    embedder: Served, embedding_client: Client
) -> None:
    random = np.random.default_rng(11)
    requests = [
        [TEXTS[i] for i in random.integers(0, len(TEXTS), random.integers(1, 9))]
        for _ in range(64)
    ]

    def ask(number: int) -> npt.NDArray[Any]:
        if number % 2:
            return embedding_client.embed(requests[number]).values
        return embedding_client.score(requests[number]).scores

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(len(requests))))

    vectors = {text: embedder.last_hidden_state(text) for text in TEXTS}
    p = {text: embedder.probabilities(text) for text in TEXTS}
    for number, (texts, answer) in enumerate(zip(requests, answers, strict=True)):
        expected = [vectors[t] if number % 2 else p[t][2] - p[t][0] for t in texts]
        np.testing.assert_allclose(answer, np.array(expected), atol=TOLERANCE)


def test_a_bad_text_is_refused_by_its_row(embedding_client: Client) -> None:
    with pytest.raises(BadRequest, match="is blank") as caught:
        embedding_client.embed([*TEXTS[:35], " "])

    assert [(r.row, r.field) for r in caught.value.rejections] == [(35, "TEXT")]


def test_a_raw_client_gets_every_output_of_the_contract(embedder: Served) -> None:
    text = triton.InferInput("TEXT", [2, 1], "BYTES")
    text.set_data_from_numpy(np.array([[b"up"], [b"down"]], object))
    with triton.InferenceServerClient(embedder.server.endpoints.grpc) as raw:
        reply = raw.infer("embedding", [text])

    for tensor in EMBEDDING_MODEL.outputs:
        array = reply.as_numpy(tensor.name)
        assert array.dtype == NUMPY_DTYPES[tensor.datatype], tensor.name
        tensor.check(array)
        assert len(array) == 2
    digest = reply.as_numpy("MODEL_DIGEST")[0, 0].decode()
    assert digest == embedder.receipt.model_digest
    assert "embedding/config.pbtxt" in embedder.receipt.files


def test_a_repository_without_it_has_no_such_model(served: Served, client: Client) -> None:
    assert not (served.server.repository.path / "embedding").exists()
    assert {each.name: each.ready for each in client.models()}["embedding"] is False
    with pytest.raises(ModelNotReady, match="the model is not ready"):
        client.embed("all is well")
