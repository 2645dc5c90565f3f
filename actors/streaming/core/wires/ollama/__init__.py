"""Ollama's own API: /api/chat, and /api/generate for a prompt without a conversation."""
