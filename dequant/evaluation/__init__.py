"""The paper's tables and figures; models arrive as arguments."""
