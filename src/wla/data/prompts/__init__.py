"""Prompts: token sequences in the nano and the chat (Qwen3-VL) layout, and the nano tokenizer."""
