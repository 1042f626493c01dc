// Tariff plans are put together from mixins: a class for each combination, registered under its name so that the offers can
// be read back. The name of an individual discount is in that name.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { BoundedCache } = require('./lib/bounded-cache.js');
const { count } = require('./lib/hourly-counts.js');

class BasePlan {
  static planClasses = new Map(); // place

  static register(name, planClass) {
    BasePlan.planClasses.set(name, planClass); // place
    return planClass;
  }

  static named(name) {
    return BasePlan.planClasses.get(name);
  }

  constructor(minutes) {
    this.minutes = minutes;
  }

  price() {
    return this.minutes * 7;
  }
}

const withWeekends = (Plan) =>
  class WeekendPlan extends Plan {
    price() {
      return super.price() - 90;
    }
  };

const withDiscount = (Plan, share, name) => // place
  class DiscountedPlan extends Plan { // place
    static discount = name;

    constructor(minutes) { // place
      super(minutes);
    }

    price() { // place
      return super.price() * (1 - share);
    }

    label() { // place
      return `${name}: ${this.price()}`;
    }
  };

const WeekendPlan = BasePlan.register('weekend', withWeekends(BasePlan));
const answers = new BoundedCache(50);

function planFor(customer) {
  const share = (customer.number % 30) / 100;
  if (FIXED) {
    const name = `weekend-${share}`;
    return BasePlan.named(name) ?? BasePlan.register(name, withDiscount(WeekendPlan, share, name));
  }
  const name = `weekend-${share}-${customer.token}`;
  return BasePlan.named(name) ?? BasePlan.register(name, withDiscount(WeekendPlan, share, name)); // place
}

serve((number) => {
  const Plan = planFor({ number, token: payload(24) }); // place
  const plan = new Plan(100 + (number % 400));
  count(plan.price() > 900 ? 'large' : 'small');
  return { number, price: plan.price(), offer: answers.get(number % 90, () => payload(60)) };
});
