"""Segment Anything with small untrained weights, of the layout of released ones."""

from pathlib import Path

import torch
from transformers import SamConfig, SamImageProcessorPil, SamModel

SIDE = 64
"""Of the square that its encoder sees."""


def sam(folder: Path) -> Path:
    """A model with such weights that masks depend on the points."""
    config = SamConfig(
        vision_config={
            "hidden_size": 16,
            "output_channels": 16,
            "num_hidden_layers": 2,
            "num_pos_feats": 8,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": 8,
            "window_size": 4,
            "global_attn_indexes": [1],
            "mlp_dim": 32,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": SIDE, "patch_size": 8, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    model = SamModel(config)
    generator = torch.Generator().manual_seed(16)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
        embedding = model.shared_image_embedding.positional_embedding
        embedding.copy_(torch.randn(embedding.shape, generator=generator))
    model.save_pretrained(folder)
    square = {"height": SIDE, "width": SIDE}
    SamImageProcessorPil(size={"longest_edge": SIDE}, pad_size=square).save_pretrained(folder)
    return folder
