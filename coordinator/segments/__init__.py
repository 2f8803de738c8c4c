"""Segments: the files in which checkpoints lie on the disks of several nodes.

    layout    the numbers of a checkpoint: stripes, blocks, lengths
    header    the first bytes of each file, which say all that the catalogue says
    file      a file block by block, with its checksums
    codec     mirrors, and k + m by an erasure code
    striping  content to segments and back, in stripes, with flat memory
    salvage   content from single blocks, where too few segments are whole
    devices   directories of this machine as storage devices
    archive   a directory as one stream of bytes
    checking  the check of one file on its disk

Nothing here knows a database, a node or a socket.
"""
