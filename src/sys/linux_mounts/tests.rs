//! Unit tests of the table, with lines as kernels write them, and its comparison with `docs/filesystems.md`.

use super::*;

/// As Linux 6.1 shows a mount without options of the user's own.
const NFS_3: &str =
    "rw,relatime,rw,vers=3,rsize=524288,wsize=524288,namlen=255,hard,proto=tcp,timeo=600,retrans=2,sec=sys,\
    mountaddr=10.0.2.2,mountvers=3,mountport=20048,mountproto=udp,local_lock=none,addr=10.0.2.2";
const NFS_4: &str =
    "rw,relatime,rw,vers=4.2,rsize=524288,wsize=524288,namlen=255,hard,proto=tcp,timeo=600,retrans=2,sec=sys,\
    clientaddr=10.0.2.15,local_lock=none,addr=10.0.2.2";
const SMB_3: &str = "rw,relatime,rw,vers=3.1.1,cache=strict,username=user,uid=0,noforceuid,gid=0,noforcegid,\
    addr=10.0.2.2,file_mode=0755,dir_mode=0755,soft,nounix,serverino,mapposix,rsize=4194304,wsize=4194304,\
    bsize=1048576,echo_interval=60,actimeo=1,closetimeo=1";

fn accepts(kind: &str, options: &str, on: Shared) {
    assert_eq!(judge(kind, options), Ok(Filesystem::Shared(on)), "{kind} {options}");
}

#[track_caller]
fn refuses(kind: &str, options: &str, parts: &[&str]) {
    let why = judge(kind, options).unwrap_err().to_string();
    for part in [&format!("({kind})"), "on which this lock is not known to work: ", "LF_OPEN_TRUST_FILESYSTEM"] {
        assert!(why.contains(part), "{part:?} is not in {why:?}");
    }
    parts.iter().for_each(|part| assert!(why.contains(part), "{part:?} is not in {why:?}"));
}

#[test]
fn nfs_is_accepted_in_the_versions_that_were_tried() {
    accepts("nfs", NFS_3, Nfs3);
    accepts("nfs4", NFS_4, Nfs4);
    for kind in ["nfs", "nfs4"] {
        accepts(kind, &NFS_4.replace("4.2", "4.1"), Nfs4);
        let why = "the mount option vers=4.0 is in the way, because while one host stands still, ";
        refuses(kind, &NFS_4.replace("4.2", "4.0"), &[why, "Mount it with vers=4.2"]);
    }
    for version in ["2", "4", "4.3", "3.1", "", "03", "3 "] {
        let options = NFS_3.replace("vers=3,rsize", &format!("vers={version},rsize"));
        refuses(
            "nfs",
            &options,
            &[&format!("the mount option vers={version} is in the way, because "), "Mount it with vers="],
        );
    }
    for options in ["", "rw", "rw,mountvers=3", "rw,minorversion=1", "rw,vers"] {
        refuses("nfs4", options, &["the mount option vers", "nobody has tried this version of NFS"]);
    }
    refuses("nfs4", "rw,vers=3,vers=2", &["the mount option vers=2 is in the way"]);
    refuses("nfs4", "rw,vers=3,vers=4.2", &["nobody has tried it yet"]);
}

#[test]
fn an_option_of_nfs_that_ages_listings_is_refused_and_any_other_accepted() {
    let way_out = "Mount it without nocto. Or pass LF_OPEN_TRUST_FILESYSTEM, if all claimants use this one mount";
    let nocto = "the mount option nocto is in the way, because a listing can miss bids";
    for options in [NFS_3, NFS_4] {
        refuses("nfs", &format!("{options},nocto"), &[nocto, way_out]);
        refuses("nfs4", &format!("rw,nocto,{options}"), &[nocto, way_out]);
        refuses(
            "nfs4",
            &format!("{options},softerr,softreval"),
            &["softreval is in the way", "Mount it with nosoftreval"],
        );
    }
    let harmless =
        "noac,nolock,lookupcache=none,acregmin=0,acdirmax=600,nordirplus,noacl,nosharecache,fsc,noctopus,x=nocto";
    for option in harmless.split(',').chain(["lookupcache=pos"]) {
        accepts("nfs", &format!("{NFS_3},{option}"), Nfs3);
        accepts("nfs4", &format!("{NFS_4},{option}"), Nfs4);
    }
    accepts("nfs", &NFS_3.replace("local_lock=none", "local_lock=all").replace("hard", "soft"), Nfs3);
}

#[test]
fn smb_is_refused_whatever_its_options() {
    for kind in SMB {
        refuses(kind, SMB_3, &["waited in vain", "LF_OPEN_TRUST_FILESYSTEM"]);
    }
}

#[test]
fn what_other_hosts_use_is_accepted_with_its_default_options() {
    for (kind, options, on) in [("nfs", NFS_3, Nfs3), ("nfs4", NFS_4, Nfs4)] {
        assert_eq!(judge(kind, options), Ok(Filesystem::Shared(on)));
    }
}

#[test]
fn other_filesystems_are_accepted_or_refused_by_their_type() {
    accepts(
        "fuse.glusterfs",
        "rw,relatime,rw,user_id=0,group_id=0,default_permissions,allow_other,max_read=131072",
        GlusterFs,
    );
    for kind in LOCAL {
        assert_eq!(judge(kind, "rw"), Ok(LocalByName));
    }
    refuses(
        "fuse.sshfs",
        "rw",
        &["two were seen to hold at once", "If it is mounted with -o dir_cache=no, pass LF_OPEN_TRUST"],
    );
    refuses("fuse.fuse-overlayfs", "rw", &["to miss a name", "If it is mounted with -o timeout=0, pass LF_OPEN_TRUST"]);
    for cache in ["cache=loose", "cache=fscache", "cache=0xf", "loose", "mmap"] {
        let options = format!("rw,sync,dirsync,{cache},access=client,trans=virtio");
        refuses(
            "9p",
            &options,
            &[&format!("the mount option {cache} is in the way"), "If all claimants use this one mount, pass"],
        );
    }
    refuses("9p", "rw,sync,dirsync,access=client,trans=virtio", &[UNTRIED, ALONE]);
    refuses("virtiofs", "rw", &["virtiofsd runs with --cache=never"]);
    let others = ["fuse", "fuse.rclone", "fuse.", "proc", "nfsd", "nfs5", "cifs2", "autofs", "ext4", "", "fuseblk2"];
    for kind in CLUSTERS.iter().chain(OF_THE_HOST).chain(&others) {
        refuses(
            kind,
            "rw,vers=3",
            &[UNTRIED, "If all claimants use this one mount, or its caches are off, pass LF_OPEN_TRUST"],
        );
    }
}

#[test]
fn each_row_is_reached() {
    for (at, row) in TABLE.iter().enumerate() {
        for kind in row.kinds {
            let kind = kind.replace('*', "x");
            let mut options = vec!["rw".to_owned()];
            match row.when {
                Has(names) => options.extend(names.iter().map(|name| (*name).to_owned())),
                Is(name, value) => {
                    options.extend(["", ",vers=3.1.1,serverino"].map(|rest| format!("{name}={value}{rest}")))
                }
                IsNot(name, _) => options.push(format!("vers=3.1.1,{name}=x")),
                Always => {}
            }
            let first = |options: &String| TABLE.iter().position(|row| row.names(&kind) && row.when.fits(options));
            assert!(options.iter().any(|options| first(options) == Some(at)), "row {at}, {kind}");
        }
    }
}

const MOUNTINFO: &str = r"22 27 0:21 / /proc rw,relatime shared:12 - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard,resv_strict
41 27 0:37 / /net rw,relatime shared:20 - autofs systemd-1 rw,fd=45,pgrp=1,timeout=0,minproto=5,maxproto=5,direct
142 41 0:52 /sub /net rw,nosuid shared:81 master:3 - nfs4 server:/a\040b rw,vers=4.2,hard
43 27 0:38 / /empty rw -  ramfs
44 27 0:39 / /mnt/my\040disk\011\134\303\244 rw - tmpfs  rw,size=4k
45 27 0:40 / /mnt/x rw nfs4 server:/ rw,vers=4.2
46 27 0:41 / - nfs4 server:/ rw,vers=4.2
47 27 0:42 / /bare rw - nfs4
48 27 0:43 / /end rw - nfs4 server:/
";

#[test]
fn a_mount_is_found_by_its_number() {
    let mount = |kind: &str, point: &str, options: &str| {
        Some(Mount { kind: kind.into(), point: point.into(), options: options.into() })
    };
    for (id, expected) in [
        ("22", mount("proc", "/proc", "rw,relatime,rw")),
        ("41", mount("autofs", "/net", "rw,relatime,rw,fd=45,pgrp=1,timeout=0,minproto=5,maxproto=5,direct")),
        ("142", mount("nfs4", "/net", "rw,nosuid,rw,vers=4.2,hard")),
        ("44", mount("tmpfs", "/mnt/my disk\t\\ä", "rw,rw,size=4k")),
        ("47", mount("nfs4", "/bare", "rw,")),
        ("48", mount("nfs4", "/end", "rw,")),
        ("43", None), // no type
        ("45", None), // nothing tells where the options end
        ("46", None),
        ("2", None),
        ("", None),
        ("1420", None),
    ] {
        assert_eq!(Mount::find(MOUNTINFO, id), expected, "{id}");
    }
    refuses("nfs4", "rw,", &["the mount option vers is missing"]);
}

#[test]
fn escapes_are_undone_and_anything_else_is_kept() {
    for (field, plain) in [
        (r"\040", " "),
        (r"a\012b\134\043", "a\nb\\#"),
        (r"\04", r"\04"),
        (r"\", r"\"),
        (r"\999\777", r"\999\777"),
        ("\\ä40ä", "\\ä40ä"),
    ] {
        assert_eq!(unescape(field), plain);
    }
}

/// A user can mount a FUSE filesystem of any type at a place of any name.
#[test]
fn a_refusal_shows_no_control_characters() {
    let refusal = judge("fuse.\x1b[2J", "").unwrap_err().at("/mnt/\x1b[31m\n");
    let text = refusal.to_string();
    assert!(text.starts_with(r"a filesystem (fuse.\u{1b}[2J) mounted at /mnt/\u{1b}[31m\n on which "), "{text}");
    let text = judge("nfs4", "vers=\x1b,hard").unwrap_err().to_string();
    assert!(text.contains(r"vers=\u{1b} is in the way"), "{text}");
}

/// A row as the page has it.
fn of_page(row: &Row) -> String {
    let quoted = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let when = match row.when {
        Always => "any".to_owned(),
        Has(names) => quoted(names),
        Is(name, value) => format!("`{name}={value}`"),
        IsNot(name, values) => format!("another `{name}` than {}", quoted(values)),
    };
    let then = match row.then {
        Accept(on) if on.is_local() => "accepted, as local".into(),
        Accept(_) => "accepted, with leases".into(),
        Remount(why, how) => format!("refused: {why}. {how}"),
        Vouch(why, ALONE) => format!("refused: {why}"),
        Vouch(why, condition) => format!("refused: {why}. `LF_OPEN_TRUST_FILESYSTEM` is right if {condition}"),
    };
    format!("| {} | {when} | {then} | {} |\n", quoted(row.kinds), row.tried)
}

/// With `LOCKFOLDER_WRITE_TABLE=1` the page takes the table of the source.
#[test]
fn the_page_has_the_table_of_the_source() {
    const BEGIN: &str = "<!-- this table is that of src/sys/linux_mounts.rs -->\n";
    const END: &str = "<!-- end of that table -->\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/filesystems.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (there, after) = rest.split_once(END).unwrap();
    let rows: String = TABLE.iter().map(of_page).collect();
    let here = format!("\n| type | mounted with | `lf_open` | tried |\n| --- | --- | --- | --- |\n{rows}\n");
    if std::env::var_os("LOCKFOLDER_WRITE_TABLE").is_some() {
        std::fs::write(path, [before, BEGIN, &here, END, after].concat()).unwrap();
        return;
    }
    assert_eq!(there, here, "if the source is right: LOCKFOLDER_WRITE_TABLE=1 cargo test --lib linux_mounts");
}
