"""Neural parametric head model: expression code -> HeadMesh."""
