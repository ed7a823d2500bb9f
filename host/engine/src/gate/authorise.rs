//! Whether an item may be performed: requested by the manifest and granted by the policy.

use std::borrow::Cow;
use std::sync::PoisonError;

use runner_types::{EffectClass, Field, Grant, PromptKind, Use};

use super::Attempt;
use crate::backend::live::secrets::Secrets;
use crate::capability::{Capable, Subject, place_name};
use crate::contract::types::Denial;
use crate::contract::{Class, Failure, FailureKind, Function, Place, RetryAdvice, secrets};

/// Kinds of Kubernetes' own groups that have no namespace; a list of any other kind without a namespace means all of
/// them. From the API reference of Kubernetes 1.34.
const CLUSTER_SCOPED: &[&str] = &[
    "ComponentStatus",
    "Namespace",
    "Node",
    "PersistentVolume",
    "APIService.apiregistration.k8s.io",
    "CertificateSigningRequest.certificates.k8s.io",
    "ClusterRole.rbac.authorization.k8s.io",
    "ClusterRoleBinding.rbac.authorization.k8s.io",
    "CSIDriver.storage.k8s.io",
    "CSINode.storage.k8s.io",
    "CustomResourceDefinition.apiextensions.k8s.io",
    "FlowSchema.flowcontrol.apiserver.k8s.io",
    "IngressClass.networking.k8s.io",
    "MutatingWebhookConfiguration.admissionregistration.k8s.io",
    "PriorityClass.scheduling.k8s.io",
    "PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io",
    "RuntimeClass.node.k8s.io",
    "StorageClass.storage.k8s.io",
    "ValidatingAdmissionPolicy.admissionregistration.k8s.io",
    "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io",
    "ValidatingWebhookConfiguration.admissionregistration.k8s.io",
    "VolumeAttachment.storage.k8s.io",
];

impl Attempt {
    /// Judges an item. A denial is an ordinary answer and says what would allow it.
    pub(super) fn authorise<F: Function>(&self, item: &F::Item) -> Result<(), Failure> {
        let place = F::place(item);
        let subject = item.subject().map_err(|reason| invalid(item.label(), reason))?;
        if self.gate.platform.backend(&place).is_none() {
            let what = match place {
                Place::Host(_) => "host",
                Place::Cluster(_) => "cluster",
                Place::Runner => "place",
            };
            let name = place_name(&place);
            return Err(invalid(name.to_owned(), format!("the inventory has no {what} {name:?}")));
        }
        self.authorise_secrets::<F>(item)?;
        match &subject {
            Subject::Free => return Ok(()),
            Subject::Prompt { key, kind, options } => return self.authorise_prompt(key, *kind, options),
            Subject::Data(digest) => return self.authorise_data(digest),
            Subject::Place
            | Subject::Unit(_)
            | Subject::Repository(_)
            | Subject::Packages(_)
            | Subject::Paths(_)
            | Subject::Command { .. }
            | Subject::Object { .. }
            | Subject::Request { .. }
            | Subject::Secret(_) => {}
        }
        let class = F::class(item);
        if self.spec.reads_only && class.is_write() {
            let denial = Denial { capability: F::NAME.to_owned(), grant: String::new(), requested: false };
            let message = format!("{} writes, and `{}` may only look", F::NAME, self.spec.operation);
            return Err(failure(FailureKind::Denied(denial), item.label(), message));
        }
        if let Some(digest) = item.takes() {
            self.authorise_taking(digest)?;
        }
        self.judge(&self.usage::<F>(&place, class, &subject), &item.label())
    }

    /// Judges the same item by where its paths really are, once symbolic links are followed.
    pub(super) fn authorise_paths<F: Function>(&self, item: &F::Item, real: &[String]) -> Result<(), Failure> {
        let place = F::place(item);
        let paths = Subject::Paths(real.iter().map(|path| Cow::from(path.as_str())).collect());
        self.judge(&self.usage::<F>(&place, F::class(item), &paths), &item.label())
    }

    /// Judges what an item carries: a handle is worth something to the attempt that opened the secret, and what stands for
    /// a value in answers is no value to be written.
    fn authorise_secrets<F: Function>(&self, item: &F::Item) -> Result<(), Failure> {
        for handle in F::handles(item) {
            if !self.opened.lock().unwrap_or_else(PoisonError::into_inner).contains(handle) {
                return Err(self.not_opened(handle, &item.label()));
            }
        }
        let known = &self.gate.platform.secrets;
        let kept = F::class(item).is_write() || F::STORES;
        if kept && known.names().next().is_some() && serde_json::to_value(item).is_ok_and(|item| known.is_masked(&item))
        {
            let message =
                "it holds what stands for a secret in answers: open the secret and give its handle".to_owned();
            return Err(invalid(item.label(), message));
        }
        Ok(())
    }

    fn not_opened(&self, handle: &str, label: &str) -> Failure {
        let Some(name) = Secrets::name_of(handle) else {
            return invalid(label.to_owned(), "what stands for a secret in it is no handle".to_owned());
        };
        let subject = Subject::Secret(name);
        let usage = self.usage::<secrets::Open>(&Place::Runner, secrets::Open::CLASS, &subject);
        if let Err(denied) = self.judge(&usage, name) {
            return denied;
        }
        let denial = Denial { capability: usage.capability.to_owned(), grant: String::new(), requested: true };
        let message = format!("{label} carries the secret {name}, which this attempt has not opened (secrets.open)");
        failure(FailureKind::Denied(denial), label.to_owned(), message)
    }

    /// What answers a prompt in advance was judged by what the manifest says of it, so it must be asked like that.
    fn authorise_prompt(&self, key: &str, kind: PromptKind, options: &[String]) -> Result<(), Failure> {
        let plugin = &self.spec.plugin;
        let Some(listed) = self.spec.prompts.iter().find(|prompt| prompt.key == key) else {
            let known: Vec<&str> = self.spec.prompts.iter().map(|prompt| prompt.key.as_str()).collect();
            let message = format!(
                "the manifest of {plugin} lists no prompt {key:?} for `{}` with these parameters (it lists: {})",
                self.spec.operation,
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            );
            return Err(invalid(key.to_owned(), message));
        };
        if listed.kind != kind {
            let message = format!("the manifest of {plugin} lists {key:?} as `{}`, and it is `{kind}`", listed.kind);
            return Err(invalid(key.to_owned(), message));
        }
        if let Some(option) = listed.options.iter().find(|option| !options.contains(option)) {
            let message = format!("the manifest of {plugin} lists the option {option:?} of {key:?}, which it lacks");
            return Err(invalid(key.to_owned(), message));
        }
        Ok(())
    }

    pub(super) fn usage<'a, F: Function>(&'a self, place: &Place, class: Class, subject: &'a Subject<'_>) -> Use<'a> {
        let (own, groups) = match place {
            Place::Host(name) => {
                let groups = self.gate.platform.hosts.get(name).map(|host| host.groups.as_slice());
                (self.spec.hosts.iter().any(|host| host == name), groups.unwrap_or_default())
            }
            Place::Cluster(name) => (self.spec.cluster.as_ref() == Some(name), [].as_slice()),
            Place::Runner => (true, [].as_slice()),
        };
        let (subjects, argv) = subjects(subject);
        Use {
            capability: F::NAME,
            place: match place {
                Place::Host(name) => runner_types::Place::Host(name.clone()),
                Place::Cluster(name) => runner_types::Place::Cluster(name.clone()),
                Place::Runner => runner_types::Place::Runner,
            },
            own,
            groups,
            subjects,
            argv,
            class: effect_class(class),
            stated: F::CLASS == Class::Stated,
        }
    }

    pub(super) fn judge(&self, usage: &Use<'_>, label: &str) -> Result<(), Failure> {
        let Some(request) = self.spec.requests.iter().find(|request| request.allows(usage)) else {
            let denial = Denial { capability: usage.capability.to_owned(), grant: String::new(), requested: false };
            let message = format!(
                "{} of {label} on {} is not requested by the manifest of {}; a grant alone would not help",
                usage.capability, usage.place, self.spec.plugin
            );
            return Err(failure(FailureKind::Denied(denial), label.to_owned(), message));
        };
        if self.gate.policy.covering(&self.spec.plugin, usage).is_some() {
            return Ok(());
        }
        let line = self.line(request);
        let denial = Denial { capability: usage.capability.to_owned(), grant: line.clone(), requested: true };
        let message = format!(
            "{} of {label} on {} is not granted; this line in the policy would allow it: {line}",
            usage.capability, usage.place
        );
        Err(failure(FailureKind::Denied(denial), label.to_owned(), message))
    }

    fn line(&self, request: &Grant) -> String {
        request.to_string()
    }
}

fn subjects<'a>(subject: &'a Subject<'_>) -> (Vec<(Field, String)>, &'a [String]) {
    let one = |field, text: &str| vec![(field, text.to_owned())];
    match subject {
        Subject::Place | Subject::Prompt { .. } | Subject::Data(_) | Subject::Free => (Vec::new(), &[]),
        Subject::Unit(unit) => (one(Field::Units, unit), &[]),
        Subject::Repository(id) => (one(Field::Repositories, id), &[]),
        Subject::Packages(names) => (names.iter().map(|name| (Field::Packages, (*name).to_owned())).collect(), &[]),
        Subject::Paths(paths) => (paths.iter().map(|path| (Field::Paths, path.clone().into_owned())).collect(), &[]),
        Subject::Command { argv, environment, user, directory, .. } => {
            let named = |field, text: &str| (field, text.to_owned());
            let mut subjects: Vec<_> = environment.iter().map(|name| named(Field::Environment, name)).collect();
            subjects.extend(user.map(|user| named(Field::Users, user)));
            subjects.extend(directory.as_deref().map(|path| named(Field::Directories, path)));
            (subjects, argv)
        }
        Subject::Request { method, url, .. } => {
            (vec![(Field::Methods, (*method).to_owned()), (Field::Urls, (*url).to_owned())], &[])
        }
        Subject::Secret(name) => (one(Field::Secrets, name), &[]),
        Subject::Object { kind, namespace, name } => {
            let mut subjects = vec![(Field::Kinds, kind.clone())];
            match namespace {
                Some(namespace) => subjects.push((Field::Namespaces, namespace.clone().into_owned())),
                None if name.is_none() && !CLUSTER_SCOPED.contains(&kind.as_str()) => {
                    subjects.push((Field::Namespaces, "*".to_owned()));
                }
                None => {}
            }
            let name = name.as_ref().map_or_else(|| "*".to_owned(), |name| name.clone().into_owned());
            subjects.push((Field::Names, name));
            (subjects, &[])
        }
    }
}

/// The class as the journal and policies name it. A stated class is the item's by now.
pub(super) fn effect_class(class: Class) -> EffectClass {
    match class {
        Class::None => EffectClass::None,
        Class::Read => EffectClass::Read,
        Class::WriteIdempotent => EffectClass::WriteIdempotent,
        // Never the class of an item; the strongest is the safe reading.
        Class::WriteOnce | Class::Stated => EffectClass::WriteOnce,
    }
}

pub(super) fn invalid(subject: String, message: String) -> Failure {
    failure(FailureKind::Invalid, subject, message)
}

pub(super) fn failure(kind: FailureKind, subject: String, message: String) -> Failure {
    let retry = match kind {
        FailureKind::Denied(_) => RetryAdvice::AfterChange,
        _ => RetryAdvice::No,
    };
    Failure { kind, retry, subject, message }
}
