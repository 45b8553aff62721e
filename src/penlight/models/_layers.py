"""The parts that all architectures are made of.

Shapes: T tokens at once, V vocabulary, H hidden size, S positions in the cache, Q query heads,
K key and value heads, D elements of a head. Batch is always 1.

Linear and embedding layers are plain `torch.nn` modules, so that a quantiser can exchange them; all
else that is worth a fused kernel calls a ``penlight::`` operator.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from penlight.errors import CheckpointError
from penlight.models.config import ModelConfig, RopeConfig

Activation = Literal["silu", "gelu"]


def linear(inputs: int, outputs: int, *, bias: bool = False) -> nn.Linear:
    """A linear layer whose weights are left uninitialised: a checkpoint fills them."""
    made: nn.Linear = _uninitialised(nn.Linear, inputs, outputs, bias=bias)
    return made


def _uninitialised(kind: type[nn.Module], *sizes: int, **options: bool) -> Any:
    """A module without the time that random weights take, on the device in force."""
    device = torch.get_default_device()
    return nn.utils.skip_init(kind, *sizes, device=device, **options)  # type: ignore[no-untyped-call]


class RMSNorm(nn.Module):
    """``x / sqrt(mean(x^2) + eps) * (weight + offset)`` over the last dimension.

    Zhang and Sennrich, 2019. offset is 1 where weights are stored relative to one (Gemma).
    """

    def __init__(self, size: int, eps: float, offset: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.eps = eps
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.ops.penlight.rms_norm(x, self.weight, self.eps, self.offset)
        return out


class Rope(nn.Module):
    """Rotary position embedding; every layer of the same kind shares one."""

    inv_freq: Tensor
    long_inv_freq: Tensor

    def __init__(self, rope: RopeConfig, model_context: int, context: int) -> None:
        super().__init__()
        self.scaling = rope.scaling(model_context)
        # A cache too short to pass the switch needs one set of frequencies only.
        self.switch = rope.original_context if rope.switches else 0
        if self.switch >= context:
            self.switch = 0
        values = torch.from_numpy(rope.frequencies())
        self.register_buffer("inv_freq", values, persistent=False)
        if self.switch:
            values = torch.from_numpy(rope.frequencies(long=True))
            self.register_buffer("long_inv_freq", values, persistent=False)

    def frequencies(self, input_pos: Tensor, length: int) -> Tensor:
        """Radians per position, float32 [D / 2], for a text of input_pos + length tokens."""
        if not self.switch:
            return self.inv_freq
        return torch.where(input_pos + length > self.switch, self.long_inv_freq, self.inv_freq)

    def forward(self, x: Tensor, input_pos: Tensor, inv_freq: Tensor) -> Tensor:
        """Rotates x [1, T, heads, D], whose first token is at input_pos [1]."""
        out: Tensor = torch.ops.penlight.rope(x, input_pos, inv_freq, self.scaling)
        return out


class Position:
    """What all layers of one forward pass share: where its tokens are, and how to rotate there."""

    def __init__(self, input_pos: Tensor, length: int, rope: Rope, local_rope: Rope | None) -> None:
        self.input_pos = input_pos
        self._rope = (rope, rope.frequencies(input_pos, length))
        self._local = self._rope
        if local_rope is not None:
            self._local = (local_rope, local_rope.frequencies(input_pos, length))

    def rotate(self, x: Tensor, *, local: bool) -> Tensor:
        """Rotates x [1, T, heads, D]; local: as layers with a window do."""
        rope, frequencies = self._local if local else self._rope
        return rope(x, self.input_pos, frequencies)  # type: ignore[no-any-return]


class Cache(nn.Module):
    """Keys and values of all positions so far, each [1, K, S, D]; part of the program's state.

    With int8 each is [1, K, S, D + 4]: behind a head's numbers stands their float32 scale.
    """

    k: Tensor
    v: Tensor

    def __init__(self, config: ModelConfig, context: int, dtype: torch.dtype) -> None:
        super().__init__()
        width = config.head_dim + (torch.float32.itemsize if dtype == torch.int8 else 0)
        shape = (1, config.kv_heads, context, width)
        self.register_buffer("k", torch.zeros(shape, dtype=dtype), persistent=False)
        self.register_buffer("v", torch.zeros(shape, dtype=dtype), persistent=False)

    def forward(self, k: Tensor, v: Tensor, input_pos: Tensor) -> tuple[Tensor, Tensor]:
        """Writes k and v [1, T, K, D] at input_pos and returns the whole caches."""
        new_k = torch.ops.penlight.update_cache(self.k, k, input_pos)
        new_v = torch.ops.penlight.update_cache(self.v, v, input_pos)
        self.k.copy_(new_k)
        self.v.copy_(new_v)
        return new_k, new_v


class Attention(nn.Module):
    """Grouped-query attention over the cache.

    qk_norm: RMS norm of queries and keys before they are rotated; ``"head"``: of each head by
    itself (Qwen 3, Gemma 3), ``"all"``: over all heads at once (OLMo 2), or none.

    rounds: whether products may be made of bfloat16, which whoever rounds the activations sets.
    """

    def __init__(
        self,
        config: ModelConfig,
        layer: int,
        cache: Cache,
        *,
        qk_norm: Literal["none", "head", "all"] = "none",
        norm_offset: float = 0.0,
    ) -> None:
        super().__init__()
        c, d = config, config.head_dim
        self.heads, self.kv_heads, self.head_dim = c.heads, c.kv_heads, d
        self.scale, self.window, self.softcap = c.scale, c.window(layer), c.attention_softcap
        self.q_proj = linear(c.hidden_size, c.heads * d, bias=c.qkv_bias)
        self.k_proj = linear(c.hidden_size, c.kv_heads * d, bias=c.qkv_bias)
        self.v_proj = linear(c.hidden_size, c.kv_heads * d, bias=c.qkv_bias)
        self.o_proj = linear(c.heads * d, c.hidden_size, bias=c.output_bias)
        self.qk_norm = qk_norm
        if qk_norm != "none":
            q_size, k_size = (d, d) if qk_norm == "head" else (c.heads * d, c.kv_heads * d)
            self.q_norm = RMSNorm(q_size, c.norm_eps, norm_offset)
            self.k_norm = RMSNorm(k_size, c.norm_eps, norm_offset)
        self.rotates, self.local = c.uses_rope(layer), c.window(layer) > 0
        self.cache = cache
        self.rounds = False

    def forward(self, x: Tensor, position: Position) -> Tensor:
        length = x.shape[1]
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)  # [1, T, heads * D]
        if self.qk_norm == "all":
            q, k = self.q_norm(q), self.k_norm(k)
        q = q.view(1, length, self.heads, self.head_dim)
        k = k.view(1, length, self.kv_heads, self.head_dim)
        v = v.view(1, length, self.kv_heads, self.head_dim)
        if self.qk_norm == "head":
            q, k = self.q_norm(q), self.k_norm(k)
        if self.rotates:
            q, k = (position.rotate(part, local=self.local) for part in (q, k))
        all_k, all_v = self.cache(k, v, position.input_pos)  # [1, K, S, D]
        ops = torch.ops.penlight
        attention = ops.attention_bf16 if self.rounds else ops.attention
        out = attention(q, all_k, all_v, position.input_pos, self.scale, self.window, self.softcap)
        return self.o_proj(out.view(1, length, -1))  # type: ignore[no-any-return]


class GatedMLP(nn.Module):
    """``down(act(gate(x)) * up(x))`` (Shazeer, 2020)."""

    def __init__(self, config: ModelConfig, activation: Activation = "silu") -> None:
        super().__init__()
        c = config
        self.gate_proj = linear(c.hidden_size, c.intermediate_size, bias=c.mlp_bias)
        self.up_proj = linear(c.hidden_size, c.intermediate_size, bias=c.mlp_bias)
        self.down_proj = linear(c.intermediate_size, c.hidden_size, bias=c.mlp_bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        ops = torch.ops.penlight
        multiply = ops.silu_mul if self.activation == "silu" else ops.gelu_mul
        return self.down_proj(multiply(self.gate_proj(x), self.up_proj(x)))  # type: ignore[no-any-return]


class PreNormLayer(nn.Module):
    """The layer of Llama and its kin: each part reads a normed stream and adds to the plain one."""

    def __init__(self, config: ModelConfig, attention: Attention, mlp: GatedMLP) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.self_attn = attention
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.mlp = mlp

    def forward(self, x: Tensor, position: Position) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), position)
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]


class SandwichNormLayer(nn.Module):
    """The layer of Gemma 2 and 3: norms before and after both parts, weights relative to one."""

    def __init__(self, config: ModelConfig, attention: Attention, mlp: GatedMLP) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.norm_eps
        self.input_layernorm = RMSNorm(size, eps, offset=1.0)
        self.self_attn = attention
        self.post_attention_layernorm = RMSNorm(size, eps, offset=1.0)
        self.pre_feedforward_layernorm = RMSNorm(size, eps, offset=1.0)
        self.mlp = mlp
        self.post_feedforward_layernorm = RMSNorm(size, eps, offset=1.0)

    def forward(self, x: Tensor, position: Position) -> Tensor:
        attended = self.self_attn(self.input_layernorm(x), position)
        x = x + self.post_attention_layernorm(attended)
        fed = self.mlp(self.pre_feedforward_layernorm(x))
        return x + self.post_feedforward_layernorm(fed)  # type: ignore[no-any-return]


class CausalLM(nn.Module):
    """A decoder-only language model; an architecture is a subclass that defines `layer`.

    Parameters have the names of Hugging Face's checkpoints less the leading ``model.``:
    ``embed_tokens.weight``, ``layers.0.self_attn.q_proj.weight``, ..., ``norm.weight``,
    ``lm_head.weight`` (the same parameter as the embedding's if tied).
    """

    embedding_scale = 1.0
    norm_offset = 0.0

    def __init__(self, config: ModelConfig, context: int | None, cache_dtype: torch.dtype) -> None:
        super().__init__()
        self.config = config
        self.context = config.context_length if context is None else context
        if not 0 < self.context <= config.context_length:
            raise CheckpointError(
                f"[models] expected a context of 1 to {config.context_length} tokens but got "
                f"{self.context}; ask for no more than the model was trained for"
            )
        self.rope = Rope(config.rope, config.context_length, self.context)
        self.local_rope = (
            Rope(config.local_rope, config.context_length, self.context)
            if config.local_rope is not None
            else None
        )
        self.embed_tokens = _uninitialised(nn.Embedding, config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            self.layer(i, Cache(config, self.context, cache_dtype)) for i in range(config.layers)
        )
        self.norm = RMSNorm(config.hidden_size, config.norm_eps, self.norm_offset)
        self.lm_head = linear(config.hidden_size, config.vocab_size)
        if config.tied:
            self.lm_head.weight = self.embed_tokens.weight

    def layer(self, index: int, cache: Cache) -> nn.Module:
        """Makes one layer; its forward takes x [1, T, H] and a Position and returns x [1, T, H]."""
        raise NotImplementedError

    def forward(self, tokens: Tensor, input_pos: Tensor) -> Tensor:
        """Logits of the token after the last, float32 [1, V].

        tokens: int64 [1, T], at positions input_pos[0] to input_pos[0] + T - 1.
        input_pos: int64 [1]. Earlier positions must have been run before: they are in the cache.
        """
        return self.head(self.hidden(tokens, input_pos)[:, -1])

    def hidden(self, tokens: Tensor, input_pos: Tensor) -> Tensor:
        """The stream after the last layer, float32 [1, T, H]; arguments as of `forward`."""
        position = Position(input_pos, tokens.shape[1], self.rope, self.local_rope)
        x: Tensor = self.embed_tokens(tokens)  # [1, T, H]
        if self.embedding_scale != 1.0:
            x = x * self.embedding_scale
        for layer in self.layers:
            x = layer(x, position)
        return x

    def head(self, x: Tensor) -> Tensor:
        """Logits float32 [..., V] of rows of the stream [..., H]."""
        logits: Tensor = self.lm_head(self.norm(x))
        if cap := self.config.logit_softcap:
            logits = torch.tanh(logits / cap) * cap
        return logits
