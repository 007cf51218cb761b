"""The kernel's question, whether writes shall be atomic and how, and the evidence: ``compare`` and ``probe``."""
