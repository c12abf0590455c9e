"""A PDF is laid out by docling's models where they are on the machine, with and without torchvision."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ilab_jupyter.retrieval import pdf as reader
from tests.retrieval.conftest import pdf

pytestmark = pytest.mark.slow

LINES = ["The engine Bluebell burns peat bricks.", "The line closes in winter."]
LABELS = (
    *("caption", "footnote", "formula", "list_item", "page_footer", "page_header", "picture"),
    *("section_header", "table", "text", "title", "document_index", "code", "form", "key_value_region"),
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `docling-tools models download` makes it, with a tiny layout model of random weights."""
    import torch
    from docling.datamodel.pipeline_options import LayoutObjectDetectionOptions
    from transformers import RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection

    torch.manual_seed(0)
    backbone = RTDetrResNetConfig(
        **{"embedding_size": 8, "hidden_sizes": [8] * 4, "depths": [1] * 4, "layer_type": "basic"},
        out_features=["stage2", "stage3", "stage4"],
    )
    sizes = {"d_model": 16, "encoder_hidden_dim": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_n_points": 2}
    config = RTDetrV2Config(
        **{"backbone_config": backbone, "encoder_in_channels": [8] * 3, "decoder_in_channels": [16] * 3},
        **{**sizes, **heads, "encoder_layers": 1, "decoder_layers": 2, "num_queries": 10},
        id2label=dict(enumerate(LABELS)),
    )
    folder = tmp_path_factory.mktemp("models")
    model = folder / LayoutObjectDetectionOptions().model_spec.repo_id.replace("/", "--")
    RTDetrV2ForObjectDetection(config).save_pretrained(model)
    size = {"height": 640, "width": 640}
    processor = {"image_processor_type": "RTDetrImageProcessor", "do_resize": True, "size": size}
    (model / "preprocessor_config.json").write_text(json.dumps({**processor, "do_normalize": False}))
    return folder


def test_layout_model_reads_pdf(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "railway.pdf"
    path.write_bytes(pdf([LINES]))
    document, losses = reader.read(path, "railway.pdf", str(models), text_only=False)
    assert losses == []
    text = document.export_to_markdown()
    assert all(line in text for line in LINES)
    assert document.texts[0].prov[0].bbox.t < 792, "the place on the page is the model's, not the whole page"
