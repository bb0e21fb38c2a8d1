//! The health of watches as metrics, read when they are scraped.

use std::{fmt, sync::atomic::Ordering};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use super::{Health, KindHealth, Summary};
use crate::trouble::Reason;

type Series = (&'static str, Summary);

impl Collector for Health {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let kinds = self.kinds.read();
        let summaries: Vec<Series> = kinds.iter().map(|kind| (kind.name, kind.summary())).collect();
        ages(&mut encoder, &summaries)?;
        gauge(
            &mut encoder,
            "rouse_watches",
            "Watches of the API server",
            kinds
                .iter()
                .zip(&summaries)
                .map(|(kind, (_, it))| (kind.name, it.watches)),
        )?;
        gauge(
            &mut encoder,
            "rouse_watch_objects",
            "Objects known by watches",
            kinds.iter().map(|kind| (kind.name, (kind.count.0)())),
        )?;
        gauge(
            &mut encoder,
            "rouse_watch_unreadable_objects",
            "Objects that exist and cannot be read; the last good version of each is in use",
            summaries.iter().map(|(name, it)| (*name, it.unreadable)),
        )?;
        troubled(&mut encoder, &summaries)?;
        counters(&mut encoder, &kinds)
    }
}

fn ages(encoder: &mut DescriptorEncoder<'_>, summaries: &[Series]) -> Result<(), fmt::Error> {
    let mut contact = encoder.encode_descriptor(
        "rouse_watch_contact_age",
        "Time since the API server sent anything, of the watch where that is longest ago",
        Some(&Unit::Seconds),
        MetricType::Gauge,
    )?;
    for (name, summary) in summaries {
        if let Some(age) = summary.contact_age {
            ConstGauge::new(age.as_secs_f64()).encode(contact.encode_family(&[("kind", *name)])?)?;
        }
    }
    let mut event = encoder.encode_descriptor(
        "rouse_watch_event_age",
        "Time since the API server told of an object",
        Some(&Unit::Seconds),
        MetricType::Gauge,
    )?;
    for (name, summary) in summaries {
        if let Some(age) = summary.event_age {
            ConstGauge::new(age.as_secs_f64()).encode(event.encode_family(&[("kind", *name)])?)?;
        }
    }
    Ok(())
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &'static str,
    help: &'static str,
    values: impl Iterator<Item = (&'static str, usize)>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (kind, value) in values {
        ConstGauge::new(value.cast_signed() as i64).encode(family.encode_family(&[("kind", kind)])?)?;
    }
    Ok(())
}

fn troubled(encoder: &mut DescriptorEncoder<'_>, summaries: &[Series]) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "rouse_watches_failing",
        "Watches whose last attempt failed",
        None,
        MetricType::Gauge,
    )?;
    for (name, summary) in summaries {
        for (reason, count) in Reason::ALL.iter().zip(summary.troubled) {
            ConstGauge::new(count.cast_signed() as i64)
                .encode(family.encode_family(&[("kind", *name), ("reason", reason.name())])?)?;
        }
    }
    Ok(())
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    kinds: &[std::sync::Arc<KindHealth>],
) -> Result<(), fmt::Error> {
    let mut lists = encoder.encode_descriptor(
        "rouse_watch_lists",
        "Lists of all objects, one at the start of each watch and one whenever it had lost its place",
        None,
        MetricType::Counter,
    )?;
    for kind in kinds {
        let count = kind.lists.load(Ordering::Relaxed);
        ConstCounter::new(count).encode(lists.encode_family(&[("kind", kind.name)])?)?;
    }
    let mut errors = encoder.encode_descriptor(
        "rouse_watch_errors",
        "Attempts to list or watch that failed",
        None,
        MetricType::Counter,
    )?;
    for kind in kinds {
        for (reason, count) in Reason::ALL.iter().zip(&kind.errors) {
            ConstCounter::new(count.load(Ordering::Relaxed))
                .encode(errors.encode_family(&[("kind", kind.name), ("reason", reason.name())])?)?;
        }
    }
    Ok(())
}
