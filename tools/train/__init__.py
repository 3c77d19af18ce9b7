"""Trained elsewhere: the papers' networks in torch. Out comes a bundle; the line PC never sees this folder."""
