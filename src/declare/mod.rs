//! Declarations: Git or a directory -> text -> checked declarations -> the model.
