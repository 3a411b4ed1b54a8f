/* fsck.h - `hawser fsck`: is what is in a data directory whole? */
#ifndef CLI_FSCK_H
#define CLI_FSCK_H

int fsck(int argc, char **argv);

#endif
