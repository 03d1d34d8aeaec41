"""Mappers: each turns the body of a request into events, in the vocabulary of one protocol or product."""
