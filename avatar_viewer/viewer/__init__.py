"""The Dear PyGui window: state, texture, and one panel per file."""
