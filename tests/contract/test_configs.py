"""Every ``config.pbtxt`` says what the contract says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from megatick_contract import LABELS, OPTIONAL_MODELS, PUBLIC_MODELS
from megatick_contract.models import EMBEDDING_MODEL, MARKET_VIEW, SENTIMENT, Model
from megatick_contract.steps import (
    LANGUAGE_MODEL,
    POOLED,
    PREPROCESS,
    PRICE_FORECAST_STEP,
    SCORER,
    SENTIMENT_SCORES,
)
from megatick_contract.tensors import Datatype
from megatick_contract.text import PROBABILITIES

TEMPLATES = Path(__file__).parents[2] / "model_repository"
ENSEMBLES = (SENTIMENT, MARKET_VIEW, EMBEDDING_MODEL)
OF_TARGET: dict[str, tuple[Model, ...]] = {
    "cpu": (SCORER, *ENSEMBLES),
    "tensorrt": (PREPROCESS, LANGUAGE_MODEL, SENTIMENT_SCORES, *ENSEMBLES),
    "shared": (PRICE_FORECAST_STEP,),
}


def params(*models: Model) -> list[Any]:
    return [
        pytest.param(folder, model, id=f"{folder}-{model.name}")
        for folder, there in OF_TARGET.items()
        for model in there
        if not models or model in models
    ]


CONFIG_TYPES: dict[Datatype, str] = {
    "BYTES": "TYPE_STRING",
    "BOOL": "TYPE_BOOL",
    "INT32": "TYPE_INT32",
    "FP32": "TYPE_FP32",
}


def read_config(folder: str, model: Model) -> model_config_pb2.ModelConfig:
    text = (TEMPLATES / folder / model.name / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("folder", OF_TARGET)
def test_a_folder_holds_the_models_of_the_contract_and_no_other(folder: str) -> None:
    found = {path.parent.name for path in TEMPLATES.glob(f"{folder}/*/config.pbtxt")}

    assert found == {model.name for model in OF_TARGET[folder]}


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
def test_every_target_has_the_public_models(target: str) -> None:
    models = {model.name for model in OF_TARGET[target] + OF_TARGET["shared"]}

    assert {model.name for model in PUBLIC_MODELS + OPTIONAL_MODELS} <= models


@pytest.mark.parametrize(("folder", "model"), params())
def test_a_config_has_the_tensors_of_the_contract(folder: str, model: Model) -> None:
    config = read_config(folder, model)

    def type_name(value: int) -> str:
        return str(model_config_pb2.DataType.Name(value))

    assert [
        (tensor.name, type_name(tensor.data_type), tuple(tensor.dims), tensor.optional)
        for tensor in config.input
    ] == [
        (tensor.name, CONFIG_TYPES[tensor.datatype], tensor.shape, tensor.optional)
        for tensor in model.inputs
    ]
    given = {
        (tensor.name, CONFIG_TYPES[tensor.datatype], tensor.shape)
        for tensor in model.outputs
    }
    if model is LANGUAGE_MODEL:  # an engine's graph gives POOLED only where exported
        given -= {(POOLED.name, CONFIG_TYPES[POOLED.datatype], POOLED.shape)}
    assert {
        (tensor.name, type_name(tensor.data_type), tuple(tensor.dims))
        for tensor in config.output
    } == given


@pytest.mark.parametrize(("folder", "model"), params())
def test_every_model_batches_on_its_first_axis(folder: str, model: Model) -> None:
    config = read_config(folder, model)

    assert config.max_batch_size == (32 if model is LANGUAGE_MODEL else 256)
    assert model.rows_per_request <= config.max_batch_size


@pytest.mark.parametrize(("folder", "model"), params())
def test_only_a_gpus_chain_is_batched_by_triton_and_refuses_late_requests(
    folder: str, model: Model
) -> None:
    config = read_config(folder, model)

    assert config.HasField("dynamic_batching") == (
        folder == "tensorrt" and config.platform != "ensemble"
    )
    if config.HasField("dynamic_batching"):
        policy = config.dynamic_batching.default_queue_policy
        assert policy.allow_timeout_override
        assert policy.default_timeout_microseconds > 0, "0 would switch the override off"
        assert policy.max_queue_size > 0


@pytest.mark.parametrize(("folder", "model"), params(*ENSEMBLES))
def test_an_ensembles_steps_are_wired_by_the_contract(folder: str, model: Model) -> None:
    steps = {step.name: step for step in OF_TARGET[folder] + OF_TARGET["shared"]}
    known = {tensor.name for tensor in model.inputs}

    for step in read_config(folder, model).ensemble_scheduling.step:
        signature = steps[step.model_name]
        required = {tensor.name for tensor in signature.inputs if not tensor.optional}
        optional = {tensor.name for tensor in signature.inputs if tensor.optional}
        assert required <= set(step.input_map) <= required | optional
        assert set(step.input_map.values()) <= known, "it is fed by what came before"
        assert set(step.output_map) <= {tensor.name for tensor in signature.outputs}
        known |= set(step.output_map.values())

    assert {tensor.name for tensor in model.outputs} <= known


@pytest.mark.parametrize(("folder", "model"), params(*ENSEMBLES))
def test_an_ensemble_never_gives_an_output_an_inputs_name(
    folder: str, model: Model
) -> None:
    # Triton 2.51 loads such an ensemble and then hangs or dies on the first request.
    assert not {t.name for t in model.inputs} & {t.name for t in model.outputs}
    assert read_config(folder, model).platform == "ensemble"


@pytest.mark.parametrize(("folder", "model"), params(*ENSEMBLES))
def test_no_step_reads_what_an_ensemble_gives(folder: str, model: Model) -> None:
    # Triton 2.51 counts such a tensor twice when a request leaves outputs out, and then
    # may drop the step that the request needs: docs/decisions/0006.
    steps = read_config(folder, model).ensemble_scheduling.step
    read = {tensor for step in steps for tensor in step.input_map.values()}

    assert not read & {tensor.name for tensor in model.outputs}


@pytest.mark.parametrize(("folder", "model"), params(SCORER, SENTIMENT_SCORES))
def test_triton_names_the_classes_as_the_contract_does(folder: str, model: Model) -> None:
    named = [each for each in read_config(folder, model).output if each.label_filename]
    names = (TEMPLATES / folder / model.name / named[0].label_filename).read_text()

    # The ensembles carry the labels of the step that gives them the tensor.
    assert [each.name for each in named] == [PROBABILITIES.name]
    assert tuple(names.splitlines()) == LABELS
