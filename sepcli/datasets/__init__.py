"""Folders of clean recordings → random sources and pairs."""
