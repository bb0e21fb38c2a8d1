//! How paths are matched. Where the KEDA HTTP Add-on does otherwise, the test says so.

use crate::support::{route, served};

#[test]
fn the_longest_prefix_wins() {
    served(vec![
        route("root").rule(&["a.test"], &["/"]),
        route("api").rule(&["a.test"], &["/api"]),
        route("v1").rule(&["a.test"], &["/api/v1"]),
    ])
    .gives("a.test", "/", Some("root"))
    .gives("a.test", "/other", Some("root"))
    .gives("a.test", "/api", Some("api"))
    .gives("a.test", "/api/", Some("api"))
    .gives("a.test", "/api/v2", Some("api"))
    .gives("a.test", "/api/v1", Some("v1"))
    .gives("a.test", "/api/v1/users/7", Some("v1"));
}

#[test]
fn a_prefix_ends_at_a_segment_boundary() {
    served(vec![route("a").rule(&["a.test"], &["/api", "/img.d"])])
        .gives("a.test", "/api", Some("a"))
        .gives("a.test", "/api/x", Some("a"))
        .gives("a.test", "/apix", None)
        .gives("a.test", "/api-x", None)
        .gives("a.test", "/api.", None)
        .gives("a.test", "/ap", None)
        .gives("a.test", "/img", None)
        .gives("a.test", "/", None);
}

#[test]
fn siblings_that_sort_around_the_slash_are_kept_apart() {
    served(vec![
        route("a").rule(&["a.test"], &["/a"]),
        route("minus").rule(&["a.test"], &["/a-b"]),
        route("dot").rule(&["a.test"], &["/a.b"]),
        route("under").rule(&["a.test"], &["/a/b"]),
        route("zero").rule(&["a.test"], &["/a0"]),
    ])
    .gives("a.test", "/a", Some("a"))
    .gives("a.test", "/a/c", Some("a"))
    .gives("a.test", "/a/b/c", Some("under"))
    .gives("a.test", "/a-b/c", Some("minus"))
    .gives("a.test", "/a.b", Some("dot"))
    .gives("a.test", "/a0/1", Some("zero"))
    .gives("a.test", "/a.c", None)
    .gives("a.test", "/a-", None);
}

#[test]
fn slashes_around_prefixes_and_paths_are_ignored_and_inside_they_count() {
    served(vec![
        route("a").rule(&["a.test"], &["api//"]),
        route("b").rule(&["a.test"], &["//x//y"]),
    ])
    .gives("a.test", "/api", Some("a"))
    .gives("a.test", "//api", Some("a"))
    .gives("a.test", "/api///", Some("a"))
    .gives("a.test", "/x//y", Some("b"))
    .gives("a.test", "/x//y//z", Some("b"))
    .gives("a.test", "/x/y", None)
    .gives("a.test", "/x", None);
}

#[test]
fn dot_segments_are_left_as_they_are() {
    served(vec![
        route("root").rule(&["a.test"], &["/"]),
        route("api").rule(&["a.test"], &["/api"]),
    ])
    .gives("a.test", "/x/../api", Some("root"))
    .gives("a.test", "/./api", Some("root"))
    .gives("a.test", "/api/../x", Some("api"));
}

#[test]
fn paths_compare_with_case() {
    served(vec![route("a").rule(&["a.test"], &["/Api"])])
        .gives("a.test", "/Api", Some("a"))
        .gives("a.test", "/api", None);
}

#[test]
fn paths_are_matched_decoded() {
    served(vec![
        route("cafe").rule(&["a.test"], &["/caf\u{e9}"]),
        route("space").rule(&["a.test"], &["/a b"]),
        route("percent").rule(&["a.test"], &["/%41"]),
    ])
    .gives("a.test", "/caf%C3%A9/x", Some("cafe"))
    .gives("a.test", "/%63%61%66%c3%a9", Some("cafe"))
    .gives("a.test", "/a%20b", Some("space"))
    .gives("a.test", "/%2541", Some("percent"))
    .gives("a.test", "/%41", None);
}

#[test]
fn an_invalid_escape_stands_for_itself() {
    served(vec![route("a").rule(&["a.test"], &["/100%", "/%zz"])])
        .gives("a.test", "/100%", Some("a"))
        .gives("a.test", "/100%25/x", Some("a"))
        .gives("a.test", "/%zz/%4", Some("a"))
        .gives("a.test", "/%zy", None);
}

// The add-on takes an encoded slash for a slash.
#[test]
fn an_encoded_slash_is_no_segment_boundary() {
    served(vec![
        route("root").rule(&["a.test"], &["/"]),
        route("api").rule(&["a.test"], &["/api"]),
        route("admin").rule(&["a.test"], &["/api/admin"]),
        route("literal").rule(&["a.test"], &["/x%2Fy"]),
    ])
    .gives("a.test", "/api%2Fadmin", Some("root"))
    .gives("a.test", "/api%2fadmin/x", Some("root"))
    .gives("a.test", "/%2Fapi", Some("root"))
    .gives("a.test", "/api/admin%2F..", Some("api"))
    .gives("a.test", "/api/x%2Fy", Some("api"))
    .gives("a.test", "/x%2Fy", Some("root"))
    .gives("a.test", "/x%252Fy", Some("literal"));
}

#[test]
fn a_prefix_longer_than_the_stack_buffer_is_matched_decoded() {
    let long = "x".repeat(300);
    served(vec![
        route("long").rule(&["a.test"], &[&format!("/{long}/y")]),
        route("short").rule(&["a.test"], &["/"]),
    ])
    .gives("a.test", &format!("/%78{}/%79/z", &long[1..]), Some("long"))
    .gives("a.test", &format!("/%78{long}/%79/z"), Some("short"));
}

#[test]
fn a_path_of_slashes_is_no_more_work_than_the_stored_prefixes() {
    let slashes = "/a".repeat(30_000);
    let escaped = "/%61".repeat(15_000);
    let index = served(vec![
        route("root").rule(&["a.test"], &["/"]),
        route("a").rule(&["a.test"], &["/a/a/a"]),
    ]);
    for path in [&slashes, &escaped] {
        index.gives("a.test", path, Some("a"));
    }
    index.gives("a.test", &"/".repeat(60_000), Some("root"));
}
