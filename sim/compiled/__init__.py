"""The validators' hot path as machine code: which modules, where it is kept, when it is used."""
