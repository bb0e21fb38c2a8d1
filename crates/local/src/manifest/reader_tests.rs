use super::*;

fn fault(text: &str) -> String {
    read(&[Source::new("app.yaml", text)]).unwrap_err().to_string()
}

#[test]
fn a_file_is_cut_at_its_markers_and_comments_are_not_counted() {
    let source = Source::new(
        "app.yaml",
        "# a comment\n---\nkind: A # ---\n--- # next\nkind: B\n...\n---\n\n",
    );
    let documents = documents(&source);
    let numbers: Vec<_> = documents
        .iter()
        .map(|document| (document.at.number, document.first_line))
        .collect();
    assert_eq!(numbers, [(1, 2), (2, 4)]);
}

#[test]
fn invalid_yaml_is_told_with_document_line_and_column() {
    assert_eq!(
        fault("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\napiVersion: v1\nkind: b: c\n"),
        "app.yaml, document 2: line 6, column 8: mapping values are not allowed in this context"
    );
}

#[test]
fn a_duplicate_key_is_told_without_a_programmers_hint() {
    assert_eq!(
        fault("apiVersion: v1\nkind: A\nkind: B\n"),
        "app.yaml, document 1: line 3, column 1: duplicate mapping key: kind"
    );
}

#[test]
fn a_misspelt_kind_is_an_error_with_a_hint() {
    assert_eq!(
        fault("apiVersion: apps/v1\nkind: Deploymnet\nmetadata: {name: a}\n"),
        "app.yaml, document 1: kind: unknown kind Deploymnet of apps/v1; did you mean Deployment?"
    );
    assert_eq!(
        fault("apiVersion: example.com/v1\nkind: Teapot\nmetadata: {name: a}\n"),
        "app.yaml, document 1: kind: unknown kind Teapot of example.com/v1"
    );
}

#[test]
fn a_kind_of_the_wrong_version_names_the_right_one() {
    assert_eq!(
        fault("apiVersion: extensions/v1beta1\nkind: HTTPScaledObject\n"),
        "app.yaml, document 1: kind: unknown kind HTTPScaledObject of extensions/v1beta1; \
         did you mean HTTPScaledObject of http.keda.sh/v1alpha1?"
    );
    assert_eq!(
        fault("apiVersion: apps/v1beta2\nkind: Deployment\n"),
        "app.yaml, document 1: apiVersion: Deployment is apps/v1, not apps/v1beta2"
    );
    assert_eq!(
        fault("apiVersion: v1\nkind: Deployment\n"),
        "app.yaml, document 1: apiVersion: Deployment is apps/v1, not v1"
    );
}

#[test]
fn a_wrong_type_is_told_with_its_field() {
    assert_eq!(
        fault("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: \"x\"}\n"),
        "app.yaml, document 1: spec.replicas: invalid type: string \"x\", expected i32"
    );
    assert_eq!(
        fault(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  template:\n    spec:\n      \
             containers: [{name: c, env: [{name: X, value: 3}]}]\n"
        ),
        "app.yaml, document 1: spec.template.spec.containers[0].env[0].value: \
         invalid type: integer `3`, expected a string"
    );
}

#[test]
fn a_document_without_kind_or_name_says_so() {
    assert_eq!(fault("apiVersion: v1\n"), "app.yaml, document 1: kind: missing");
    assert_eq!(
        fault("apiVersion: v1\nkind: 3\n"),
        "app.yaml, document 1: kind: expected a string"
    );
    assert_eq!(
        fault("apiVersion: v1\nkind: Service\nspec: {}\n"),
        "app.yaml, document 1: metadata.name: missing"
    );
    assert_eq!(
        fault("- a\n- b\n"),
        "app.yaml, document 1: document: expected an object with apiVersion and kind"
    );
}

#[test]
fn an_interceptor_route_is_told_to_be_unsupported() {
    let fault = fault("apiVersion: http.keda.sh/v1beta1\nkind: InterceptorRoute\nmetadata: {name: a}\n");
    assert!(
        fault.starts_with("app.yaml, document 1: kind: InterceptorRoute is not supported"),
        "{fault}"
    );
}

#[test]
fn each_fault_is_one_line() {
    let fault = fault("kind: A\n---\napiVersion: v1\nkind: Srevice\n---\na: b: c\n");
    assert_eq!(fault.lines().count(), 3, "{fault}");
}

#[test]
fn known_kinds_that_have_no_part_are_skipped_with_a_notice() {
    let manifests = read(&[Source::new(
        "app.yaml",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: chatbot-route}\n",
    )])
    .unwrap();
    assert_eq!(
        manifests.notices,
        ["app.yaml, document 1: HTTPRoute chatbot-route is skipped: it has no part in `rouse local`"]
    );
}

#[test]
fn a_misspelt_field_is_a_warning() {
    let manifests = read(&[Source::new(
        "app.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  template:\n    spec:\n      \
         containers: [{name: c, readinesProbe: {httpGet: {port: 1}}}]\n",
    )])
    .unwrap();
    assert_eq!(
        manifests.warnings,
        ["app.yaml, document 1: spec.template.spec.containers[0].readinesProbe: unknown field, ignored"]
    );
}

#[test]
fn a_list_is_its_items() {
    let manifests = read(&[Source::new(
        "app.yaml",
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: a, namespace: shop}}\n- \
         {apiVersion: v1, kind: Service, metadata: {name: b}}\n",
    )])
    .unwrap();
    let names: Vec<_> = manifests
        .services
        .iter()
        .map(|service| {
            (
                service.object.metadata.namespace.as_deref(),
                service.object.metadata.name.as_deref(),
            )
        })
        .collect();
    assert_eq!(names, [(Some("shop"), Some("a")), (Some("default"), Some("b"))]);
    assert_eq!(
        fault("apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Service, metadata: {name: 3}}]\n"),
        "app.yaml, document 1: items[0].metadata.name: invalid type: integer `3`, expected a string"
    );
}

#[test]
fn a_fault_is_one_line_whatever_the_manifest_says() {
    assert_eq!(
        fault("apiVersion: v1\nkind: \"Fo\\no\\e[31m\"\nmetadata: {name: a}\n"),
        "app.yaml, document 1: kind: unknown kind Fo\\no\\u{1b}[31m of v1"
    );
}

#[test]
fn names_are_names_and_not_paths() {
    for (metadata, expected) in [
        ("{name: ../a}", "metadata.name: \"../a\" is not a name"),
        ("{name: My_App}", "metadata.name: \"My_App\" is not a name"),
        (
            "{name: a, namespace: ../..}",
            "metadata.namespace: \"../..\" is not a name",
        ),
        (
            "{name: a, namespace: a.b}",
            "metadata.namespace: \"a.b\" is not a name",
        ),
    ] {
        for kind in ["apps/v1\nkind: Deployment", "v1\nkind: Service"] {
            let told = fault(&format!("apiVersion: {kind}\nmetadata: {metadata}\n"));
            assert!(told.contains(expected), "{metadata}: {told}");
        }
    }
    let long = format!("a{}", "-b.c".repeat(64));
    assert!(
        fault(&format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {long}}}\n"
        ))
        .contains("is not a name")
    );
    let fine = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a.b-1, namespace: team-2}\n";
    assert!(read(&[Source::new("app.yaml", fine)]).is_ok());
}
