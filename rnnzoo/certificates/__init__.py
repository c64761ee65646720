"""Certified truncation: `certify` a model, `truncate` it, `verify` the bound on data."""

from rnnzoo.certificates._certify import certify, contraction, truncate, verify
from rnnzoo.certificates._report import Certificate, LayerCertificate, Verification

__all__ = [
    "Certificate",
    "LayerCertificate",
    "Verification",
    "certify",
    "contraction",
    "truncate",
    "verify",
]
