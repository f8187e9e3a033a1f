"""Audits: which operations of any JAX function make a grid, in its output and its gradients, and what to change."""

from checkerjax.audits._assertions import assert_no_grid
from checkerjax.audits._audit import audit, audit_subject
from checkerjax.audits._finding import Finding
from checkerjax.audits._report import AuditReport

__all__ = ["AuditReport", "Finding", "assert_no_grid", "audit", "audit_subject"]
