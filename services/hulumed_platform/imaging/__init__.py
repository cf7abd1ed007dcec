"""Any medical input to planes: DICOM, NIfTI, pictures and video, resized to the token budget and cut into patches.

`prepare` is the door. `sniff` names a file's format; `dicom`, `nifti`, `picture` and `video` each turn files into a
`stack.Stack` (planes known, pixels still encoded); `budget` plans the resize; `patches` cuts and compares.
"""
