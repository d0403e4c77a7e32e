"""From folders, shards and streams to batches."""
