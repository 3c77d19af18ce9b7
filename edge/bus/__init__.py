"""The only room that knows ZeroMQ: frames in, verdicts out."""
