"""Tests of what holds strange code."""
