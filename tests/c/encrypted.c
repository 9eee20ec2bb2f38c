/* As USER: makes an encrypted file (fscrypt) in FOLDER, links it to each NAME, and takes the key away again.
   encrypted USER FOLDER CONTENT NAME... */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fscrypt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed(const char *what) {
    int impossible = errno == EOPNOTSUPP || errno == ENOTTY || errno == ENOPKG;
    perror(what);
    return impossible ? 77 : 1; /* this kernel has no encryption */
}

int main(int argc, char **argv) {
    if (argc < 5) {
        return 1;
    }
    const unsigned user = (unsigned)atoi(argv[1]);
    if (mkdir(argv[2], 0700) != 0 || chown(argv[2], user, user) != 0 || setgroups(0, NULL) != 0 || setgid(user) != 0 ||
        setuid(user) != 0) {
        return failed("become the user");
    }
    const size_t length = 64;
    struct fscrypt_add_key_arg *key = calloc(1, sizeof *key + length);
    if (key == NULL) {
        return failed("memory");
    }
    key->key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER;
    key->raw_size = (unsigned)length;
    memset(key->raw, 7, length);
    int folder = open(argv[2], O_RDONLY);
    if (folder < 0 || ioctl(folder, FS_IOC_ADD_ENCRYPTION_KEY, key) != 0) {
        return failed("add the key");
    }
    struct fscrypt_policy_v2 policy = {.version = FSCRYPT_POLICY_V2,
                                       .contents_encryption_mode = FSCRYPT_MODE_AES_256_XTS,
                                       .filenames_encryption_mode = FSCRYPT_MODE_AES_256_CTS};
    memcpy(policy.master_key_identifier, key->key_spec.u.identifier, FSCRYPT_KEY_IDENTIFIER_SIZE);
    if (ioctl(folder, FS_IOC_SET_ENCRYPTION_POLICY, &policy) != 0) {
        return failed("encrypt the folder");
    }
    int file = openat(folder, "file", O_CREAT | O_WRONLY, 0644);
    if (file < 0 || write(file, argv[3], strlen(argv[3])) < 0 || fsync(file) != 0 || close(file) != 0) {
        return failed("write the file");
    }
    for (int name = 4; name < argc; ++name) {
        if (linkat(folder, "file", AT_FDCWD, argv[name], 0) != 0) {
            return failed(argv[name]);
        }
    }
    close(folder);
    sync(); /* the key stays while a file is dirty */
    struct fscrypt_remove_key_arg gone = {.key_spec = key->key_spec};
    if (ioctl(folder = open(argv[2], O_RDONLY), FS_IOC_REMOVE_ENCRYPTION_KEY, &gone) != 0) {
        return failed("remove the key");
    }
    return 0;
}
