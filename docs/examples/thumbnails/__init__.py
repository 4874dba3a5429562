"""Thumbnails: the pictures of strangers are made small in processes, which they may break as they like."""
