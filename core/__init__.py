"""The vocabulary every part of warren shares: messages, chunks, receipts, steps and the protocols between them."""
