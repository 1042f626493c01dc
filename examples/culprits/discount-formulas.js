// Discounts are formulas that the sellers write. A formula is compiled once, one thought; but the numbers of the order
// are written into it before it is compiled, and so each order has a formula of its own.
'use strict';

const vm = require('node:vm');
const { FIXED, payload, serve } = require('./service.js');

const SELLERS = [
  { name: 'Nordlicht', formula: 'AMOUNT > 20 ? PRICE * 0.1 : PRICE * 0.02' },
  { name: 'Kontor', formula: 'Math.min(PRICE * 0.15, AMOUNT * 25)' },
  { name: 'Deichgraf', formula: 'PRICE > 5000 ? 400 : AMOUNT * 3' },
  { name: 'Lotse', formula: 'Math.floor(PRICE / 1000) * (AMOUNT > 5 ? 12 : 4)' },
];

const sandbox = vm.createContext({ AMOUNT: 0, PRICE: 0, Math });
const formulaScripts = new Map(); // place

const stats = { compiled: 0, reused: 0 };
const recentDiscounts = new Float64Array(200);
const ordersBySeller = new Map(SELLERS.map(({ name }) => [name, 0]));

function compiled(source) {
  let script = formulaScripts.get(source);
  if (script) {
    stats.reused += 1;
    return script;
  }
  script = new vm.Script(source, { filename: 'discount.formula' }); // place
  formulaScripts.set(source, script); // place
  stats.compiled += 1;
  return script;
}

/** The formula with the order's numbers in it. */
function filledIn(formula, order) {
  const numbers = formula.replaceAll('AMOUNT', String(order.amount)).replaceAll('PRICE', String(order.price));
  return `/* order ${order.number}, ${order.reference} */ ${numbers}`; // place
}

function discountFor(seller, order) {
  if (FIXED) {
    sandbox.AMOUNT = order.amount;
    sandbox.PRICE = order.price;
    return compiled(seller.formula).runInContext(sandbox);
  }
  return compiled(filledIn(seller.formula, order)).runInContext(sandbox); // place
}

/** The middle one of the discounts given lately. */
function typicalDiscount() {
  const sorted = recentDiscounts.slice().sort();
  return sorted[sorted.length >> 1];
}

serve((number) => {
  const seller = SELLERS[number % SELLERS.length];
  const order = { number, reference: payload(60), amount: 1 + (number % 40), price: 300 + ((number * 271) % 9000) };
  const discount = Math.round(discountFor(seller, order)); // place
  recentDiscounts[number % recentDiscounts.length] = discount;
  ordersBySeller.set(seller.name, ordersBySeller.get(seller.name) + 1);
  const answer = { order: number, seller: seller.name, discount, orders: ordersBySeller.get(seller.name) };
  if (number % 100 === 0) answer.typical = typicalDiscount();
  return answer;
});
