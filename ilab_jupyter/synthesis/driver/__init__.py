"""Runs instructlab-sdg's pipelines row by row: what a block means is theirs, when a row enters it is ours."""
