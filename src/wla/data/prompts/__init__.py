"""Prompts: token sequences of the nano and the chat (Qwen3-VL) layout, and the tokenizer."""
