"""Every ``config.pbtxt`` says what the contract says."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from megatick_contract import LABELS, OPTIONAL_MODELS, PUBLIC_MODELS
from megatick_contract.models import EMBEDDING_MODEL, MARKET_VIEW, SENTIMENT, Model
from megatick_contract.steps import (
    LANGUAGE_MODEL,
    PREPROCESS,
    PRICE_FORECAST_STEP,
    SENTIMENT_SCORES,
)
from megatick_contract.tensors import Datatype
from megatick_contract.text import PROBABILITIES

REPOSITORY = Path(__file__).parents[2] / "model_repository"
MODELS = (
    PREPROCESS,
    LANGUAGE_MODEL,
    SENTIMENT_SCORES,
    PRICE_FORECAST_STEP,
    SENTIMENT,
    MARKET_VIEW,
    EMBEDDING_MODEL,
)
ENSEMBLES = (SENTIMENT, MARKET_VIEW, EMBEDDING_MODEL)
CONFIG_TYPES: dict[Datatype, str] = {
    "BYTES": "TYPE_STRING",
    "BOOL": "TYPE_BOOL",
    "INT32": "TYPE_INT32",
    "FP32": "TYPE_FP32",
}


def read_config(model: str) -> model_config_pb2.ModelConfig:
    text = (REPOSITORY / model / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_the_repository_holds_the_models_of_the_contract_and_no_other() -> None:
    folders = {path.parent.name for path in REPOSITORY.glob("*/config.pbtxt")}

    assert folders == {model.name for model in MODELS}
    assert {model.name for model in PUBLIC_MODELS + OPTIONAL_MODELS} <= folders


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_config_has_the_tensors_of_the_contract(model: Model) -> None:
    config = read_config(model.name)

    def type_name(value: int) -> str:
        return str(model_config_pb2.DataType.Name(value))

    assert [
        (tensor.name, type_name(tensor.data_type), tuple(tensor.dims), tensor.optional)
        for tensor in config.input
    ] == [
        (tensor.name, CONFIG_TYPES[tensor.datatype], tensor.shape, tensor.optional)
        for tensor in model.inputs
    ]
    assert {
        (tensor.name, type_name(tensor.data_type), tuple(tensor.dims))
        for tensor in config.output
    } == {
        (tensor.name, CONFIG_TYPES[tensor.datatype], tensor.shape)
        for tensor in model.outputs
    }


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_model_batches_on_its_first_axis_and_refuses_late_requests(
    model: Model,
) -> None:
    config = read_config(model.name)

    assert config.max_batch_size == 256
    if config.platform != "ensemble":
        policy = config.dynamic_batching.default_queue_policy
        assert policy.allow_timeout_override
        assert policy.default_timeout_microseconds > 0, "0 would switch the override off"
        assert policy.max_queue_size > 0


@pytest.mark.parametrize("model", ENSEMBLES, ids=lambda model: model.name)
def test_an_ensembles_steps_are_wired_by_the_contract(model: Model) -> None:
    steps = {step.name: step for step in MODELS}
    known = {tensor.name for tensor in model.inputs}

    for step in read_config(model.name).ensemble_scheduling.step:
        signature = steps[step.model_name]
        required = {tensor.name for tensor in signature.inputs if not tensor.optional}
        optional = {tensor.name for tensor in signature.inputs if tensor.optional}
        assert required <= set(step.input_map) <= required | optional
        assert set(step.input_map.values()) <= known, "it is fed by what came before"
        assert set(step.output_map) <= {tensor.name for tensor in signature.outputs}
        known |= set(step.output_map.values())

    assert {tensor.name for tensor in model.outputs} <= known


@pytest.mark.parametrize("model", ENSEMBLES, ids=lambda model: model.name)
def test_an_ensemble_never_gives_an_output_an_inputs_name(model: Model) -> None:
    # Triton 2.51 loads such an ensemble and then hangs or dies on the first request.
    assert not {t.name for t in model.inputs} & {t.name for t in model.outputs}
    assert read_config(model.name).platform == "ensemble"


@pytest.mark.parametrize("model", ENSEMBLES, ids=lambda model: model.name)
def test_no_step_reads_what_an_ensemble_gives(model: Model) -> None:
    # Triton 2.51 counts such a tensor twice when a request leaves outputs out, and then
    # may drop the step that the request needs: docs/decisions/0006.
    steps = read_config(model.name).ensemble_scheduling.step
    read = {tensor for step in steps for tensor in step.input_map.values()}

    assert not read & {tensor.name for tensor in model.outputs}


def test_triton_names_the_classes_as_the_contract_does() -> None:
    (named,) = [
        (model, tensor)
        for model in MODELS
        for tensor in read_config(model.name).output
        if tensor.label_filename
    ]
    model, tensor = named
    names = (REPOSITORY / model.name / tensor.label_filename).read_text()

    # The ensembles carry the labels of the step that gives them the tensor.
    assert (model, tensor.name) == (SENTIMENT_SCORES, PROBABILITIES.name)
    assert tuple(names.splitlines()) == LABELS
