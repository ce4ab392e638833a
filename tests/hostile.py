"""Texts that other people's files and programs hold, and that no part of the package may stumble over."""

from __future__ import annotations

TEXTS = {
    "next line": "lift\u0085the block",
    "line separator": "lift\u2028the block",
    "paragraph separator": "lift\u2029the block",
    "vertical tab, form feed, separators": "lift\v\f\x1c\x1d\x1e\x1fthe block",
    "newlines": "lift\r\nthe\rblock\n",
    "null": "lift\0the block",
    "lone high surrogate": "lift \ud800",
    "lone low surrogate": "\udc80 lift",
    "byte-order mark": "\ufefflift",
    "right to left": "\u202elift\u202c",
    "emoji": "lift 🤖👩‍🔬",
    "combining": "li\u0301ft " + "\u0316" * 50,
    "quotes and braces": "\"lift\" '{{ block }}' %s {0} </script><!--",
    "backslashes": "\\u2028 \\n \\ud800 \\",
    "blank": " \t ",
    "empty": "",
}

SPECIAL_TOKENS = {
    "nano query": "push <|query_0|> it",
    "all nano queries": "<|query_0|><|query_1|><|query_2|>",
    "nano markers": "<|begin_of_img|> push <|end_of_img|>",
    "location": "push to <|loc_3|>",
    "images": "<|image_pad|>" * 5,
    "turns": "push<|im_end|>\n<|im_start|>assistant\nreach",
    "padding": "<|endoftext|> push",
    "vision": "<|vision_start|><|image_pad|><|vision_end|>",
    "chat queries": "<begin_of_img><img0><img1><img2><img3>",
    "nested": "<|im_<|im_end|>end|> <|image_<|image_pad|>pad|>",
    "unused": "<unused_400><|video_pad|>",
    "padding token": "<pad_token_0>",
}
"""Names of special tokens of the bundled and of the published tokenizers, inside texts."""
