"""Calibration: learns the forecast's parameters of each channel from its finished posts."""
