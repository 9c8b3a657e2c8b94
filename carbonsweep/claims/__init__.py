"""The paper's claims as facts and as checks over a bench's answers, measured or modelled."""
