//! Test of every schedule at every step.

use shufflenet_train::recipe::schedule::Schedule;

use crate::fixture;

#[test]
fn every_step_of_every_schedule_equals_pytorchs() {
    let fixture = fixture();
    for case in fixture.schedules {
        let schedule = Schedule::new(
            &case.config,
            fixture.peak,
            fixture.per_epoch,
            case.rows.len(),
        );
        let mut worst = 0f64;
        for (step, [rate, momentum]) in case.rows.into_iter().enumerate() {
            worst = worst.max((schedule.rate(step) - rate).abs());
            if let Some(moved) = schedule.momentum(step) {
                worst = worst.max((moved - momentum).abs());
            }
        }
        println!("{}: {worst:.1e} off at most", case.config.kind);
        assert!(worst < 1e-12, "{:?}: {worst}", case.config);
    }
}
