/* Ignores the result of every function that has one. It is compiled, and never run. The compiler must warn of each result that a
 * program must not ignore, on its line, and of no other.
 */
#include <lockfolder.h>

int main(void) {
    lf_folder *folder = NULL;
    lf_bid_list *list = NULL;
    bool in_use;
    uint64_t token;
    lf_open("folder", LF_OPEN_DEFAULT, &folder); /* warns */
    lf_lock(folder);                             /* warns */
    lf_lock_wait(folder, 0);                     /* warns */
    lf_holds(folder);                            /* warns */
    lf_in_use(folder, &in_use);                  /* warns */
    lf_fence(folder, &token);                    /* warns */
    lf_bids(folder, &list);                      /* warns */
    lf_cancel(folder);
    lf_unlock(folder);
    lf_reap_stale(folder, NULL);
    lf_set_malformed_grace(folder, 0);
    lf_error_message(folder, NULL, 0);
    lf_error_code(folder);
    lf_bid_list_len(list);
    lf_bid_list_get(list, 0);
    lf_version();
    lf_status_name(LF_OK);
    lf_bid_list_free(list);
    lf_close(folder);
    return 0;
}
