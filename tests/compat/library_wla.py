"""Published checkpoint built from the libraries' own modules, and its outputs, without any of our model code.

Its modules are named as in the published layout, so that its state_dict has the published names.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderDC, SanaTransformer2DModel
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import TimestepEmbedding
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import layer_norm, mse_loss, normalize, pad, scaled_dot_product_attention, silu
from transformers import Qwen2Config, Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen2.modeling_qwen2 import (
    Qwen2MLP,
    Qwen2RMSNorm,
    Qwen2RotaryEmbedding,
    apply_rotary_pos_emb,
)

WIDTH, LAYERS, TEXT_VOCAB_SIZE, QUERIES = 128, 5, 300, 6
IMAGE, START, END = 290, 292, 293
STATE, ACTION, CHUNK, EXPERT, CODER = 9, 6, 5, 48, 40
SETTINGS: dict[str, Any] = {
    "connector_num_hidden_layers": 2,
    "num_metaqueries": QUERIES,
    "max_action_dim": ACTION,
    "max_state_dim": STATE,
    "chunk_size": CHUNK,
    "num_inference_timesteps": 7,
    "add_pos_embed": True,
    "max_seq_len": 24,
    "noise_beta_alpha": 1.5,
    "noise_beta_beta": 1.0,
    "num_timestep_buckets": 500,
    "noise_s": 0.999,
    "repeated_diffusion_steps": 3,
    "diffusion_model_cfg": {"num_layers": 4, "attention_head_dim": 16, "num_attention_heads": 3, "norm_type": "norm"},
}
"""`wla` section of config.json, without begin and end marker, as in the published files."""
SANA = {
    "in_channels": 10,
    "out_channels": 10,
    "num_layers": 3,
    "num_attention_heads": 3,
    "attention_head_dim": 12,
    "num_cross_attention_heads": 2,
    "cross_attention_head_dim": 18,
    "cross_attention_dim": 36,
    "caption_channels": 28,
    "mlp_ratio": 2.0,
    "sample_size": 6,
    "patch_size": 1,
}
VAE = {
    "latent_channels": 6,
    "attention_head_dim": 4,
    "encoder_block_types": ["ResBlock", "EfficientViTBlock"],
    "decoder_block_types": ["ResBlock", "EfficientViTBlock"],
    "encoder_block_out_channels": [12, 24],
    "decoder_block_out_channels": [12, 24],
    "encoder_layers_per_block": [1, 2],
    "decoder_layers_per_block": [2, 1],
    "encoder_qkv_multiscales": [[], [5]],
    "decoder_qkv_multiscales": [[], [5]],
    "upsample_block_type": "interpolate",
    "downsample_block_type": "Conv",
    "scaling_factor": 0.7,
}


def vlm_config() -> Qwen3VLConfig:
    return Qwen3VLConfig(
        text_config={
            "vocab_size": TEXT_VOCAB_SIZE + 2 + QUERIES,
            "hidden_size": WIDTH,
            "intermediate_size": 80,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 6,
            "num_key_value_heads": 3,
            "head_dim": 24,
            "max_position_embeddings": 256,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 20_000.0,
                "mrope_section": [6, 3, 3],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": 4,
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_heads": 3,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": WIDTH,
            "num_position_embeddings": 36,
            "deepstack_visual_indexes": [0, 1, 3],
        },
        image_token_id=IMAGE,
        vision_start_token_id=START,
        vision_end_token_id=END,
        tie_word_embeddings=True,
    )


class ScaledNorm(nn.Module):
    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(heads, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        return normalize(x, dim=-1) * self.gamma * x.shape[-1] ** 0.5


class EncoderAttention(nn.Module):
    def __init__(self, config: Qwen2Config) -> None:
        super().__init__()
        width, self.heads = config.hidden_size, config.num_attention_heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.o_proj = nn.Linear(width, width, bias=False)
        self.q_norm, self.k_norm = (ScaledNorm(self.heads, width // self.heads) for _ in range(2))

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        query, key, value = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = apply_rotary_pos_emb(query, key, *rotary)
        answer = scaled_dot_product_attention(self.q_norm(query), self.k_norm(key), value)
        return self.o_proj(answer.transpose(1, 2).flatten(2))


class EncoderLayer(nn.Module):
    def __init__(self, config: Qwen2Config) -> None:
        super().__init__()
        self.self_attn, self.mlp = EncoderAttention(config), Qwen2MLP(config)
        self.input_layernorm, self.post_attention_layernorm = (Qwen2RMSNorm(config.hidden_size) for _ in range(2))

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rotary)
        return x + self.mlp(self.post_attention_layernorm(x))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        config = Qwen2Config(
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_attention_heads=WIDTH // 64,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        )
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(SETTINGS["connector_num_hidden_layers"]))
        self.rotary = Qwen2RotaryEmbedding(config)

    def forward(self, x: Tensor) -> Tensor:
        rotary = self.rotary(x, torch.arange(x.shape[1])[None])
        for layer in self.layers:
            x = layer(x, rotary)
        return x


class Coder(nn.Module):
    def __init__(self, *widths: int) -> None:
        super().__init__()
        for index, (source, target) in enumerate(zip(widths[::2], widths[1::2], strict=True), start=1):
            self.add_module(f"layer{index}", nn.Linear(source, target))


class ActionBlock(nn.Module):
    def __init__(self, source: int | None) -> None:
        super().__init__()
        self.attn1 = Attention(EXPERT, cross_attention_dim=source, heads=3, dim_head=16, bias=True)
        self.ff = FeedForward(EXPERT, activation_fn="gelu-approximate")

    def forward(self, x: Tensor, states: Tensor | None) -> Tensor:
        x = x + self.attn1(layer_norm(x, x.shape[-1:]), encoder_hidden_states=states)
        return x + self.ff(layer_norm(x, x.shape[-1:]))


class ActionModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.transformer_blocks = nn.ModuleList(ActionBlock(None if i % 2 else WIDTH) for i in range(4))
        self.norm_out = nn.LayerNorm(EXPERT, eps=1e-6)
        self.timestep_encoder = nn.Module()
        self.timestep_encoder.timestep_embedder = TimestepEmbedding(256, EXPERT)


class ActionExpert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.state_encoder = Coder(STATE, CODER, CODER, EXPERT)
        self.action_encoder = Coder(ACTION, EXPERT, 2 * EXPERT, EXPERT, EXPERT, EXPERT)
        self.action_decoder = Coder(EXPERT, CODER, CODER, ACTION)
        self.position_embedding = nn.Embedding(SETTINGS["max_seq_len"], EXPERT)
        self.model = ActionModel()

    def forward(self, x: Tensor, t: Tensor, state: Tensor, queries: list[Tensor]) -> Tensor:
        levels = (t * SETTINGS["num_timestep_buckets"]).long()
        angles = levels[:, None] * torch.exp(-math.log(10_000.0) * torch.arange(EXPERT // 2) / (EXPERT // 2))
        time = torch.cat([angles.sin(), angles.cos()], 1)[:, None].expand(-1, CHUNK, -1)
        coder = self.action_encoder
        actions = coder.layer3(silu(coder.layer2(torch.cat([coder.layer1(x), time], -1))))
        actions = actions + self.position_embedding(torch.arange(CHUNK))
        encoded_state = self.state_encoder.layer2(self.state_encoder.layer1(state).relu())[:, None]
        tokens = torch.cat([encoded_state, actions], 1)
        for index, (block, states) in enumerate(zip(self.model.transformer_blocks, queries, strict=True)):
            tokens = block(tokens, None if index % 2 else states)
        return self.action_decoder.layer2(self.action_decoder.layer1(self.model.norm_out(tokens)).relu())[:, 1:]


class LibraryWLA(nn.Module):
    """Model in which all weights are random, including those that are initialized to 0 or 1."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.model = nn.Module()
        self.model.mllm_backbone = Qwen3VLForConditionalGeneration(vlm_config())
        self.model.connector = nn.Sequential(
            Encoder(),
            nn.Linear(WIDTH, 28),
            nn.GELU(approximate="tanh"),
            nn.Linear(28, 28),
            nn.RMSNorm(28, eps=1e-5),
        )
        self.model.world_expert = SanaTransformer2DModel(**SANA)
        self.model.action_expert = ActionExpert()
        self.vae = AutoencoderDC(**VAE)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if "mllm_backbone" in name and parameter.ndim > 1:
                    parameter.mul_(3.0)
                parameter.add_(0.05 * torch.randn_like(parameter))
        self.eval()

    def write(self, folder: Path, inputs: dict[str, Tensor]) -> Path:
        """Writes the folder that `wla parity` reads."""
        folder.mkdir()
        weights = {name: value.clone() for name, value in self.state_dict().items() if "lm_head" not in name}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        sections = {"wla": SETTINGS, "qwen3_vl": vlm_config().to_dict(), "sana": SANA, "autoencoder_dc": VAE}
        (folder / "config.json").write_text(json.dumps(sections), encoding="utf-8")
        save_file(inputs, folder / "inputs.safetensors")
        outputs = {name: value.contiguous().clone() for name, value in self.outputs(inputs).items()}
        save_file(outputs, folder / "outputs.safetensors")
        return folder

    @torch.no_grad()
    def outputs(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        tokens = inputs["input_ids"]
        logits, language, layers, image = self._read(inputs)
        is_query = tokens >= TEXT_VOCAB_SIZE + 2
        queries = [states[is_query].view(len(tokens), QUERIES, WIDTH) for states in layers]
        action = self._action_loss(inputs, queries[-4:])
        latent = self.vae.encode(inputs["target_images"]).latent * VAE["scaling_factor"]
        latent = pad(latent, (0, 0, 0, 0, 0, SANA["in_channels"] - VAE["latent_channels"]))
        captions = [self.model.connector(torch.cat([image, states], 1)) for states in queries[-3:]]
        s = inputs["world_sigma"].view(-1, 1, 1, 1)
        velocity = self._world((1 - s) * latent + s * inputs["world_noise"], inputs["world_sigma"], captions)
        colour = VAE["latent_channels"]
        world = mse_loss(velocity[:, :colour], (inputs["world_noise"] - latent)[:, :colour])
        return {
            "query_states": torch.stack(queries[-4:]),
            "logits": logits,
            "language_loss": language[None],
            "action_chunk": self._act(inputs, queries[-4:]),
            "action_loss": action[None],
            "latent": latent,
            "world_condition": torch.stack(captions),
            "world_velocity": velocity,
            "world_loss": world[None],
            "total_loss": (action + 0.1 * world + 0.005 * language)[None],
        }

    def _read(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
        """Returns logits, loss, output of each decoder layer, and features of each sample's current image."""
        vlm, layers = self.model.mllm_backbone, []
        hooks = [
            layer.register_forward_hook(lambda module, args, out: layers.append(out))
            for layer in vlm.model.language_model.layers
        ]
        answer = vlm(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            pixel_values=inputs["pixel_values"],
            image_grid_thw=inputs["image_grid_thw"],
            mm_token_type_ids=(inputs["input_ids"] == IMAGE).int(),
            labels=inputs["labels"],
            use_cache=False,
        )
        for hook in hooks:
            hook.remove()
        seen = vlm.model.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"]).pooler_output
        each = len(seen) // len(inputs["input_ids"])  # images of each sample
        images = [seen[row * each + int(index)] for row, index in enumerate(inputs["current_image_index"])]
        return answer.logits, answer.loss, layers, torch.stack(images)

    def _action_loss(self, inputs: dict[str, Tensor], queries: list[Tensor]) -> Tensor:
        noise, t = inputs["action_noise_train"], inputs["action_time_train"]
        times = len(noise) // len(inputs["actions"])
        actions, mask = (inputs[name].repeat(times, 1, 1) for name in ("actions", "action_mask"))
        x = (1 - t.view(-1, 1, 1)) * noise + t.view(-1, 1, 1) * actions
        velocity = self.model.action_expert(
            x, t, inputs["states"].repeat(times, 1), [states.repeat(times, 1, 1) for states in queries]
        )
        return ((velocity - (actions - noise)).square() * mask).sum() / mask.sum()

    def _act(self, inputs: dict[str, Tensor], queries: list[Tensor]) -> Tensor:
        x, steps = inputs["action_noise_sample"], SETTINGS["num_inference_timesteps"]
        for step in range(steps):
            t = torch.full((len(x),), step / steps)
            x = x + self.model.action_expert(x, t, inputs["states"], queries) / steps
        return x

    def _world(self, x: Tensor, s: Tensor, captions: list[Tensor]) -> Tensor:
        """Runs the library's own forward pass, passing each block the condition of its layer."""
        sana = self.model.world_expert
        conditions = [sana.caption_norm(sana.caption_projection(caption)) for caption in captions]
        hooks = [
            block.register_forward_pre_hook(
                lambda module, args, states=states: (*args[:2], states, *args[3:]),
            )
            for block, states in zip(sana.transformer_blocks, conditions, strict=True)
        ]
        velocity = sana(x, encoder_hidden_states=captions[0], timestep=s * 1000).sample
        for hook in hooks:
            hook.remove()
        return velocity


def inputs(seed: int = 0) -> dict[str, Tensor]:
    """Returns two samples of different length with 3 images of different sizes; the current one has 3 x 2 tokens."""
    torch.manual_seed(seed)
    rows, grids, current = [], [], []
    for length, order in ((11, (0, 1, 2)), (7, (2, 0, 1))):
        row = torch.randint(0, 280, (4,)).tolist()
        for kind in order:
            grid = ((1, 2, 2), (1, 6, 4), (1, 4, 2))[kind]
            grids.append(grid)
            row += [START, *[IMAGE] * (grid[1] * grid[2] // 4), END]
        current.append(order.index(1))
        row += torch.randint(0, 280, (length,)).tolist()
        rows.append(
            [*row, TEXT_VOCAB_SIZE, *range(TEXT_VOCAB_SIZE + 2, TEXT_VOCAB_SIZE + 2 + QUERIES), TEXT_VOCAB_SIZE + 1]
        )
    longest = max(map(len, rows))
    tokens = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    labels = torch.full_like(tokens, -100)
    labels[:, -QUERIES - 6 : -QUERIES - 2] = tokens[:, -QUERIES - 6 : -QUERIES - 2]
    grid = torch.tensor(grids)
    side = SANA["sample_size"] * 2
    action_mask = torch.rand(2, CHUNK, ACTION) > 0.3
    return {
        "input_ids": tokens,
        "attention_mask": mask,
        "labels": labels,
        "pixel_values": torch.rand(int(grid.prod(1).sum()), 3 * 2 * 8 * 8) * 2 - 1,
        "image_grid_thw": grid,
        "current_image_index": torch.tensor(current),
        "states": torch.randn(2, STATE),
        "actions": torch.randn(2, CHUNK, ACTION),
        "action_mask": action_mask.float(),
        "action_noise_train": torch.randn(6, CHUNK, ACTION),
        "action_time_train": torch.rand(6) * 0.999,
        "action_noise_sample": torch.randn(2, CHUNK, ACTION),
        "target_images": torch.rand(2, 3, side, side) * 2 - 1,
        "world_noise": torch.randn(2, SANA["in_channels"], SANA["sample_size"], SANA["sample_size"]),
        "world_sigma": torch.tensor([0.2, 0.85]),
    }
